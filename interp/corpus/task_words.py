"""The words and sentence frames of the tasks.

With a leading space every word is one token of SmolLM2; `resolve` checks other tokenizers.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    "Anna Ben Clara David Emma Frank Grace Henry Jack Julia Kate Laura Mark Mary Martin Nick Paul "
    "Peter Robert Rose Sam Sarah Simon Susan Thomas Tom Alice Adam Helen Leo Lisa Max Maria Oscar "
    "Ruth Ryan Victor Daniel James John"
)
PLACES = _words("market station harbour museum garden library office beach theatre village")
THINGS = _words("ticket letter sandwich blanket key present camera map drink book")
GIVING = (
    "When {} and {} came to the PLACE, {} gave a THING to",
    "After {} and {} had met at the PLACE, {} handed a THING to",
    "While {} and {} were waiting at the PLACE, {} passed a THING to",
    "Yesterday {} and {} walked to the PLACE, and {} gave a THING to",
    "Then {} and {} sat down near the PLACE, and {} offered a THING to",
)
EVENTS = _words("war siege drought reign voyage trial dispute alliance project expedition")
LASTING = (
    "The EVENT lasted from the year {} to the year {}",
    "The EVENT began in the year {} and ended in the year {}",
    "Historians date the EVENT from the year {} to the year {}",
)
NOUNS = _words(
    "boy girl teacher farmer doctor driver author lawyer student guard king book letter picture "
    "window door key ship car chair lamp cup dog cat bird horse tree"
)
RELATIONS = ("near", "behind", "next to", "in front of", "beside")
SINGULAR, PLURAL = (" is", " was", " has"), (" are", " were", " have")
WORDS = _words(
    "apple stone river cloud table window garden music paper silver winter bridge forest candle "
    "mountain letter orange pencil bottle ocean island castle engine market ticket kitchen flower "
    "summer doctor button shoulder dragon bread sugar tiger planet circle monkey ladder rabbit "
    "pocket curtain hammer basket violin copper thunder valley desert mirror hotel camera rocket "
    "guitar lemon pepper butter turtle spider library airport farmer soldier captain"
)
