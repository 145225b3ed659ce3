"""A client of the service for till software. Copy this folder: it needs Python 3.11 and httpx, and nothing else of the project.

    with Client("https://sentinel.example", token) as sentinel:
        answer = sentinel.register({"client_reference": "POS7-000123", "purchased_at": "…", "buyer": {…}, "items": [{…}]})
        for advice in answer.advice:
            print(advice.zh)

`client.py` speaks, `purchases.py` is what is sent, `answers.py` what is answered and what can go wrong. Whatever is raised is a
`ClientError`: a `Problem` is the service's answer, and the same again gets the same; after `Unavailable` and `UnexpectedAnswer`
nobody knows whether the request arrived, so send the same again – a reference names a purchase for ever.
"""
