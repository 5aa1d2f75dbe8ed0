"""The web pages: what the API says, for people who look.

A page calls the functions behind the API's own routes and writes what they give, so pages and JSON cannot disagree.
Every reading page is whole without JavaScript; its address is its state.  Text of crawls is hostile and only ever text
(``visible``).
"""
