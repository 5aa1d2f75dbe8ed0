"""``trainer.data.chat`` in Jinja, as ``tokenizer_config.json`` holds it.

Over there a special token is found in any text that spells it, unless ``split_special_tokens=True`` is asked for, and
then a rendered conversation has none.  So no setting gives both marks and contents that may spell marks.  The template
therefore refuses contents that spell one; nobody can speak in another's name through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainer.data.chat import ROLES


def chat_template(special: Mapping[str, str], spelled: Sequence[str]) -> str:
    """``trainer.data.chat`` in Jinja; what the assistant says is marked as generated.

    Args:
        special: how our special tokens are spelled.
        spelled: what contents must not spell.
    """
    say = {name: _quoted(text) for name, text in special.items()}
    marks = ", ".join(f"'{role}': {say[f'<|{role}|>']}" for role in ROLES)
    return (
        f"{{%- set marks = {{{marks}}} -%}}"
        f"{{%- set spelled = [{', '.join(map(_quoted, spelled))}] -%}}"
        "{%- set told = namespace(first='', begin=0) -%}"
        "{%- if tools -%}"
        "{%- set told.first = tools if tools is string else tools | tojson -%}"
        "{%- if messages and messages[0]['role'] == 'system' -%}"
        "{%- set told.begin = 1 -%}"
        "{%- if messages[0]['content'] -%}{%- set told.first = messages[0]['content'] + '\\n\\n' + told.first -%}"
        "{%- endif -%}{%- endif -%}"
        "{%- set turns = [{'role': 'system', 'content': told.first}] + messages[told.begin:] -%}"
        "{%- else -%}{%- set turns = messages -%}{%- endif -%}"
        f"{{{{- {say['<|bos|>']} -}}}}"
        "{%- for turn in turns -%}"
        "{%- if turn['role'] not in marks -%}"
        f"{{{{- raise_exception(turn['role'] ~ ' is no role; there are {', '.join(ROLES)}') -}}}}{{%- endif -%}}"
        "{%- if turn['content'] is not string -%}"
        "{{- raise_exception('the content of a turn is a text') -}}{%- endif -%}"
        "{%- for word in spelled -%}{%- if word in turn['content'] -%}"
        "{{- raise_exception('the content spells ' ~ word ~ ', which would become a special token') -}}"
        "{%- endif -%}{%- endfor -%}"
        "{{- marks[turn['role']] -}}"
        "{%- if turn['role'] == 'assistant' -%}"
        f"{{% generation %}}{{{{- turn['content'] + {say['<|end|>']} -}}}}{{% endgeneration %}}"
        f"{{%- else -%}}{{{{- turn['content'] + {say['<|end|>']} -}}}}{{%- endif -%}}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- marks['assistant'] -}}{%- endif -%}"
    )


def _quoted(text: str) -> str:
    """A string of Jinja, in which no character means anything."""
    return "'" + "".join(c if c.isalnum() or c in "<|>_-/ []" else f"\\U{ord(c):08x}" for c in text) + "'"
