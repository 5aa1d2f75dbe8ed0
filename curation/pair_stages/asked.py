"""Whether a prompt speaks of a language, so that an answer in another one is no surprise."""

from __future__ import annotations

import re

# English and Chinese names; a prompt that translates, or has an answer in mind in some language, says one of these.
_ENGLISH = (
    "translat(?:e|es|ed|ing|ion|ions)|english|chinese|mandarin|cantonese|french|german|spanish|italian|portuguese|"
    "russian|ukrainian|polish|czech|dutch|swedish|danish|norwegian|finnish|hungarian|romanian|greek|turkish|arabic|"
    "hebrew|persian|farsi|hindi|urdu|bengali|tamil|telugu|thai|vietnamese|indonesian|malay|tagalog|filipino|japanese|"
    "korean|latin|sanskrit|swahili|esperanto|bilingual|multilingual|pinyin|romaji|"
    "(?:which|what|another|native) language"
)
_CHINESE = (
    "翻译|翻譯|译成|譯成|译为|英译|汉译|中译|双语|雙語|拼音|中文|汉语|漢語|华语|普通话|粤语|英文|英语|英語|日文|日语|日語|"
    "韩文|韩语|韓語|法文|法语|法語|德文|德语|德語|俄文|俄语|俄語|意大利语|意大利文|西班牙语|西班牙文|葡萄牙语|葡萄牙文|"
    "阿拉伯语|阿拉伯文|希伯来语|土耳其语|希腊语|荷兰语|波兰语|捷克语|瑞典语|丹麦语|挪威语|芬兰语|匈牙利语|越南语|泰语|"
    "泰文|印尼语|马来语|印地语|孟加拉语|波斯语|乌克兰语|拉丁语|拉丁文|梵语|世界语|"
    "什么语言|哪种语言|哪国语言|其他语言|另一种语言"
)
_NAMED = re.compile(rf"(?<![a-z])(?:{_ENGLISH})(?![a-z])|{_CHINESE}", re.I)


def names_language(text: str) -> bool:
    """Whether a text names a language or asks for a translation, in English or Chinese."""
    return _NAMED.search(text) is not None
