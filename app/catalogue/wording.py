"""What an entry on an official list means.

Lists are written for people: `连花清瘟胶囊(颗粒)` is either form, `(复方)感冒灵(所有口服剂型)` is 感冒灵 and 复方感冒灵 in every
form that is swallowed, `包含儿童剂型` adds the children's forms, `抗生素` is a class. A bracket that is not understood is kept
in `unread`, so that whoever loads the list hears of it; it is never guessed at.
"""

import re
import unicodedata
from dataclasses import dataclass

from app.catalogue.vocabulary import CLASSES, FORM, Form, Route, form_of

_BRACKETS = str.maketrans({**dict.fromkeys("[【〔「『〖《<{", "("), **dict.fromkeys("]】〕」』〗》>}", ")")})
_SIGNS = str.maketrans(dict.fromkeys("®™©℠·•・‧*×~_|", " "))

_GROUP = re.compile(r"\(([^()]*)\)")
_PIECES = re.compile(r"[,、;/]")
_NOTE_PIECES = re.compile(r"[,、;/和及或]")
_CHILDREN_TOO = re.compile(r"(?:包含|包括|含)(?:小儿|儿童)(?:用药|用)?(?:剂型)?")
_ORAL_FORMS = re.compile(r"(?:所有|各种|全部|含所有)?(?:的)?口服(?:剂型|制剂)?")
_ENDS_ORAL = re.compile(r"(?:所有|各种|全部)?的?口服(?:剂型|制剂)$")
_ALL_FORMS = re.compile(r"(?:所有|各种|全部|各)剂型")
_COMPOUND = "复方"
_NOTE = re.compile("|".join([_COMPOUND, *(p.pattern for p in (_CHILDREN_TOO, _ORAL_FORMS, _ALL_FORMS, FORM))]))
_SHORTEST_STEM = 2


@dataclass(frozen=True, slots=True)
class Wording:
    """An entry, understood.

    `text` is the whole entry, folded and without spaces; `stem` is the name without form; `forms` are the forms that the entry names, none for a bare substance;
    `any_oral` admits every oral form; `compound_too` admits 复方 in front; `children_too` admits 小儿 in front.
    """

    text: str
    stem: str
    forms: tuple[Form, ...] = ()
    any_oral: bool = False
    compound_too: bool = False
    children_too: bool = False
    drug_class: str | None = None
    unread: tuple[str, ...] = ()

    @property
    def is_bare(self) -> bool:
        """Whether the entry says nothing of forms, and so means the substance in any form for the body as a whole."""
        return not self.forms and not self.any_oral

    @property
    def breadth(self) -> int:
        """How much the entry admits: 0 named forms, 1 every oral form, 2 every form."""
        return 2 if self.is_bare else int(self.any_oral)

    def admits(self, form: Form | None) -> bool:
        """Say whether the entry means a product in this form; None is a product whose name tells no form.

        A bare entry means every route but the skin, eyes and ears: such lists look for people with fever and cough.
        """
        if form is None:
            return not self.forms
        if self.is_bare:
            return form.route is not Route.TOPICAL
        if self.any_oral and form.route is Route.ORAL:
            return True
        return any(listed.covers(form) for listed in self.forms)


def fold(text: str) -> str:
    """Return the text in the form in which names are compared: NFKC, upper case, round brackets, signs as spaces, 维C."""
    folded = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_BRACKETS).upper()
    return folded.replace("维生素C", "维C")


def parse_wording(text: str) -> Wording:
    """Read an entry of a list.

    Raises:
        ValueError: nothing is left that could name a drug.
    """
    folded = "".join(fold(text).split())
    notes = [piece for group in _GROUP.findall(folded) for piece in _NOTE_PIECES.split(group) if piece]
    # What may stand in a bracket may also stand behind the name without one.
    core = _GROUP.sub("", folded)
    for written_out in (_CHILDREN_TOO, _ENDS_ORAL):
        if found := written_out.search(core):
            notes.append(found[0])
            core = (core[: found.start()] + core[found.end() :]).strip(",、;")
    core, *more = _PIECES.split(core)
    notes += filter(None, more)
    forms = [form_of(form) for note in notes if (form := FORM.fullmatch(note))]
    unread = tuple(note for note in notes if not _NOTE.fullmatch(note))
    if core in CLASSES:
        return Wording(folded, core, drug_class=core, unread=unread)
    stem, own = split_form(core)
    if len(stem) < _SHORTEST_STEM:
        raise ValueError("no drug's name is left")
    return Wording(
        folded,
        stem,
        forms=tuple(forms if own is None else [own, *forms]),
        any_oral=any(_ORAL_FORMS.fullmatch(note) for note in notes),
        compound_too=_COMPOUND in notes,
        children_too=any(_CHILDREN_TOO.fullmatch(note) for note in notes),
        unread=unread,
    )


def split_form(name: str) -> tuple[str, Form | None]:
    """Split a name that ends in a form: `布洛芬缓释胶囊` is 布洛芬 as 缓释胶囊. A name without a form stays whole."""
    for start in range(_SHORTEST_STEM, len(name)):
        if found := FORM.fullmatch(name, start):
            return name[:start], form_of(found)
    return name, None
