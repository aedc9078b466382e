"""What language models say that nobody wants to train on: the phrases that `classifiers.synthetic_faults` looks for.

Every one was kept for what it does on labelled text (`python -m benchmarks.faults`): a phrase that people write as well, such as *feel free to*,
is not in the list, however often models use it. `(a|b)` stands for each of its alternatives, `()` or an empty one for none.
"""

import functools
import itertools
import re

from classifiers.phrases import Phrase, PhraseBook, compile_phrases

REFUSAL, ASSISTANT, TEMPLATE, PLACEHOLDER, CUTOFF, ROLE_USER, ROLE_ASSISTANT = range(7)
"""Groups of phrases; the last two are template residue where both stand in one text."""

_CANNOT = "(can't|cannot|can not|am unable to|am not able to|'m unable to|'m not able to|will not|won't)"
_UNWILLING = "(cannot|can't|can not|am unable to|am not able to|won't)"

_REWRITTEN = "revised|rewritten|improved|paraphrased|polished|rephrased|edited|corrected|suggested|reworded"
_WRITTEN = "of|list|outline|response|answer|version|summary|story|poem|essay|email|letter|recipe"

REFUSALS = (
    f"i {_UNWILLING} (fulfill|fulfil|comply with|assist with|assist you with) (this|that|your|such|any)",
    f"i {_UNWILLING} (assist|help) (you |)with (that request|this request|your request|such requests)",
    f"i {_UNWILLING} (provide|generate|create|write|produce) (content that|content involving|any content|explicit|inappropriate content|harmful)",
    f"i {_UNWILLING} (provide|give|offer) (you with |)(instructions|information|guidance|advice|assistance) (on|for) (how to|illegal|any illegal|harmful)",
    f"i {_UNWILLING} (engage in|promote|support|encourage|condone) (any |)(illegal|harmful|hateful|unethical|discriminatory)",
    f"(sorry|apologize|apologise|apologies) but i {_UNWILLING} (assist|fulfill|fulfil|comply|provide|generate|create|answer that|browse|access|offer)",
    "(sorry|apologize|apologise|apologies) but as an (ai|artificial)",
    "(sorry|apologize|apologise) but (it is|it's) not (appropriate|possible) for me to",
    "i'm (unable|not able) to (assist|fulfill|fulfil|comply|generate|browse|access|provide (that|this|real|personal|information))",
    "i (cannot|can't) in good conscience (provide|write|generate|help)",
    "(goes against|against|violates|violate) my (programming|guidelines|ethical guidelines|content policy|content policies)",
    "(violates|violate|against) openai's (content policy|policies|use case policy|usage policies)",
    "my (programming|guidelines) (prohibit|prohibits|prevents me|do not allow|don't allow|does not allow)",
    "i must respectfully decline",
    "作为(一个|一名|)(人工智能|ai)(语言模型|助手|助理)",
    "很抱歉 我(无法|不能)(提供|回答|帮助)",
    "als (ki|künstliche intelligenz) (sprachmodell|kann ich)",
    "en tant (que modèle de langage|qu'ia|qu'intelligence artificielle)",
    "como (modelo de lenguaje|modelo de linguagem|una ia|uma ia|inteligencia artificial)",
)  # fmt: skip
"""Refusals, in any position."""

ASSISTANT_TALK = (
    "as an (ai|a i|artificial intelligence) (language model|assistant|chatbot|model|system|i|my|developed|created|trained)",
    "as a (large |)language model",
    "i (am|'m) (just |only |)an (ai|artificial intelligence) (language model|assistant|chatbot|model|and|so|designed|created|developed|trained)",
    "i'm (just |only |)an (ai|artificial intelligence) (language model|assistant|chatbot|model|and|so|designed|created|developed|trained)",
    "i (am|'m) a (large |)language model",
    "i'm a (large |)language model",
    "(trained|developed|created) by openai",
    "i (don't|do not) have (personal|any personal) (opinions|feelings|experiences|beliefs|preferences|emotions)",
    "i (don't|do not) have (feelings|emotions|a physical body|physical form|the ability to (feel|browse|access))",
    "how (can|may) i (assist|help) you (today|further)",
    "is there anything else (i can|you'd like me to|you would like me to|you'd like to know)",
    "(feel free to|please) (ask|let me know) if you have any (other |more |further |additional |)questions or (need|concerns)",
    "let me know if you (need|would like|want) (any |)(further|more|additional|other) (assistance|clarification|changes|modifications|revisions|adjustments)",
    "i hope this (helps|information helps|answer helps|clarifies|list helps|recipe helps|explanation helps) (let me know|if you|feel free|please let)",
    "(i'd|i would|i'll) be happy to (assist|help) (you |)(with (that|this|your|any)|further)",
    "(sure|certainly|of course) i'd be (happy|glad) to (help|assist|provide|share)",
    "(please |)provide (me with |)(more context|more information|more details|additional context) so (that |)i can",
)  # fmt: skip
"""An assistant speaking of itself or to its user, in any position."""

ASSISTANT_OPENINGS = (
    "(sure|certainly|absolutely|of course|sure thing) (here is|here's|here are|here you go|i can|i'd be|i'll be|i'd|below|let's|i will|let me)",
    "(sure|certainly) (the|this|a|to) (following|answer|summary)",
    f"(here is|here's|here are) (a|an|the|my|your|one|some) (possible |)({_REWRITTEN})",
    f"(here is|here's) (a|an|the|one) (possible|sample|example|summary|brief|short) ({_WRITTEN})",
    "(that's|that is|what) a (great|good|wonderful) question",
    "(great|good|excellent) question",
    "thank you for (your question|asking|reaching out|providing)",
    "thanks for (your question|asking)",
    "it (seems|looks|appears) (like|that) you (have|haven't|didn't|are asking|may have|forgot|want|provided)",
    "(i understand|i see) (that |)you (are looking|want|would like|are asking|need)",
    "as (requested|per your request) here",
)  # fmt: skip
"""The same, where the text begins."""

CUTOFFS = (
    "as of my (last|latest|most recent|current|knowledge|training) (update|knowledge|training|cutoff|cut off|data|information)",
    "(as of|since|at|before|after|until|up to) my (last|latest|most recent) (knowledge |training |)(update|cutoff|cut off)",
    "my (knowledge|training|training data) (cutoff|cut off|only goes|only extends|is limited to|was last updated)",
    "my (training data|knowledge cutoff|knowledge base) (only |)(goes|extends|includes|does not|doesn't|is|was|has|ends|stops|may)",
    "my knowledge (only |)(goes|extends) (up |only |)to",
    "my last (knowledge |training |)update (in|was|on)",
    "i (don't|do not) have (access to |)(real time|current|up to date|live) (information|data|access|internet)",
    "i (cannot|can't|am unable to|am not able to) (browse|access) the internet",
    "knowledge cutoff (date|of|is|was|in)",
    "截至我(的|)(知识|最后|最近)(更新|截止)",
)  # fmt: skip
"""How far a model's knowledge goes, in any position."""

_SENTINELS = "im_start im_end im_sep endoftext startoftext eot_id eom_id start_header_id end_header_id begin_of_text end_of_text python_tag end_of_turn".split()
_YOURS = """
name|full name|first name|last name|company|company name|email|email address|address|phone|phone number|title|job title|position|city|age
contact information|organization|organisation|signature|school|university|business name|website|location|product|department|country|state
"""
_ANYONES = """
recipient|recipient's name|recipient name|sender|company|company name|customer name|customer's name|client name|client's name|manager's name
employee name|employee's name|friend's name|candidate's name|candidate name|hiring manager|hiring manager's name|product name|business name
event name|job title|position title|first name|last name|city state|city state zip|city state zip code|phone number|email address|school name
school's name|organization name|organisation name|name of|boss's name|teacher's name|professor's name|landlord's name|website url
"""


@functools.lru_cache(maxsize=1)
def fault_book() -> PhraseBook:
    """All phrases, compiled."""
    phrases = [Phrase(REFUSAL, text) for text in expand(REFUSALS)]
    phrases += [Phrase(ASSISTANT, text) for text in expand(ASSISTANT_TALK)]
    phrases += [Phrase(ASSISTANT, text, starts_text=True) for text in expand(ASSISTANT_OPENINGS)]
    phrases += [Phrase(CUTOFF, text) for text in expand(CUTOFFS)]
    phrases += [Phrase(TEMPLATE, word, after="<|") for word in _SENTINELS]
    phrases += [Phrase(TEMPLATE, word, after="<|", before="|>") for word in ("user", "assistant", "system", "end", "pad")]
    phrases += [Phrase(TEMPLATE, word, after="<", before=">") for word in ("start_of_turn", "end_of_turn", "think", "tool_call")]
    phrases += [Phrase(TEMPLATE, "think", after="</", before=">")]
    phrases += [Phrase(TEMPLATE, "INST", after=after, before="]", exact=True) for after in ("[", "[/")]
    phrases += [Phrase(TEMPLATE, "SYS", after=after, before=">>", exact=True) for after in ("<<", "<</")]
    phrases += [
        Phrase(TEMPLATE, word, starts_line=True, after="### ", before=":") for word in ("instruction", "response", "human", "assistant", "user")
    ]
    phrases += [Phrase(ROLE_USER, word, starts_line=True, before=":") for word in ("user", "human", "instruction", "prompt")]
    phrases += [Phrase(ROLE_ASSISTANT, word, starts_line=True, before=":") for word in ("assistant", "ai", "chatgpt", "bot", "response", "model")]
    yours, anyones = (re.split(r"[|\n]", names.strip()) for names in (_YOURS, _ANYONES))
    for opened, closed in (("[", "]"), ("<", ">"), ("{", "}")):
        phrases += [Phrase(PLACEHOLDER, f"your {what}", after=opened, before=closed) for what in yours]
        phrases += [Phrase(PLACEHOLDER, what, after=opened, before=closed) for what in anyones if opened != "<"]
    phrases += [Phrase(PLACEHOLDER, f"insert {word}", after=opened) for opened in "[<{(" for word in _AFTER_INSERT]
    phrases += [
        Phrase(PLACEHOLDER, f"enter your {word}", after=opened) for opened in "[<{" for word in ("name", "email", "text", "address", "company")
    ]
    phrases += [Phrase(PLACEHOLDER, f"{kind} placeholder", after="[") for kind in ("image", "text", "video", "link")]
    phrases += [
        Phrase(PLACEHOLDER, word, after="{{", before="}}") for word in ("name", "first_name", "user", "company", "date", "title", "city", "email")
    ]
    phrases += [Phrase(PLACEHOLDER, word) for word in ("your_api_key", "your_api_key_here", "your_username", "your_password", "your_access_token")]
    return compile_phrases(phrases)


_AFTER_INSERT = """
name your the a an company product date link image number topic location specific any relevant details title city email address phone time example
here brand event website information price amount contact text description their job state industry
""".split()  # noqa: SIM905
"""Words after *insert* in what is still to be filled in."""


def expand(patterns: tuple[str, ...]) -> list[str]:
    """Every text that `patterns` stand for, nested alternatives too, each once and in order."""
    texts = [text for pattern in patterns for text in _alternatives(pattern)]
    return list(dict.fromkeys(" ".join(text.split()) for text in texts))


def _alternatives(pattern: str) -> list[str]:
    """The texts of one pattern: its innermost brackets first."""
    innermost = re.search(r"\(([^()]*)\)", pattern)
    if not innermost:
        return [pattern]
    choices = (pattern[: innermost.start()] + choice + pattern[innermost.end() :] for choice in innermost[1].split("|"))
    return list(itertools.chain.from_iterable(_alternatives(choice) for choice in choices))
