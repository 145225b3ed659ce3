"""What is asked at the counter beside who somebody is: stay, contact, travel, mosquito bites.

Questionnaires are data. Owns the table `questionnaires`: for a division and a disease, dated versions of a list of questions –
yes or no, a number within bounds, one choice, several choices, never free text – each with what answer makes a
registration a clue. Verb: `declare_questionnaire`, an official's act. Two ship with the package (`data/`, this project's choice).

What is asked at a place on a day follows from the regime: of each disease for which registrations are kept there, the
questionnaire of the narrowest division that has one (`rules.FormBook.asked`). Answers are judged by it (`rules.Asked.judge`);
where none is declared two built-in answers are clues and nothing else is judged.

Invariants: a version is never changed or removed; it begins no earlier than the day on which it is declared, so that what tills
had to ask on a past day stays what it was.
"""
