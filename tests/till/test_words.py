"""A table dropped at a till and one uploaded to the service are headed and filled in with the same words."""

from app.registrations import vocabulary
from app.till import words


class TestTheWords:
    def test_are_those_of_the_service_s_import(self) -> None:
        # A licence number is the import's own way to name a pharmacy; a registration has none.
        assert {"licence_number": vocabulary.COLUMNS["licence_number"], **words.COLUMNS} == vocabulary.COLUMNS
        assert words.ITEM_COLUMNS == vocabulary.ITEM_COLUMNS
        assert words.MOST_ITEMS == vocabulary.MOST_ITEMS
        for ours, theirs in (
            (words.DOCUMENT_TYPES, vocabulary.DOCUMENT_TYPES),
            (words.SYMPTOMS, vocabulary.SYMPTOMS),
            (words.HEALTH_CODES, vocabulary.HEALTH_CODES),
        ):
            assert ours.items() <= theirs.items()
            assert {word for word, code in theirs.items() if word != code} <= ours.keys()
        assert (words.YES, words.NO, words.NO_SYMPTOM) == (vocabulary.YES, vocabulary.NO, vocabulary.NO_SYMPTOM)
