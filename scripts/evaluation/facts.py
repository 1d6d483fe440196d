"""The parts of a labelled log: statements, and questions about them.

All was written for this project. A family has statements and questions that say the same in other words:
other forms, another order, rarely the same phrase.
"""

# ruff: noqa: E501, RUF001 - tables are read across, and other languages have letters that look alike

from __future__ import annotations

PEOPLE = [
    "Annika", "Bashir", "Chiara", "Dmitri", "Esperanza", "Folke", "Gwendolyn", "Hamza", "Ingrid", "Jomo",
    "Katarzyna", "Leocadia", "Mbali", "Nikolai", "Ottoline", "Pradeep",
]  # fmt: skip

# Each: values, a speaker's statement about them, and a question. {v} is the value.
PERSONAL: dict[str, tuple[list[str], list[str], list[str]]] = {
    "pet": (
        ["tortoise", "parakeet", "greyhound", "ferret", "hedgehog", "cockatoo", "dachshund", "gecko"],
        [
            "We finally adopted a {v}, the children wanted one for ages.",
            "My {v} kept me awake all night again.",
            "I took the {v} to the vet this morning, all is fine.",
        ],
        ["What kind of animal does {p} keep?", "Which pet did {p} adopt: the {v}?", "Does {p} have a {v}?"],
    ),
    "allergy": (
        ["peanuts", "shellfish", "penicillin", "sesame", "pollen", "latex", "strawberries", "celery"],
        [
            "Careful with the menu, I get a rash from {v}.",
            "I found out that I am allergic to {v}.",
            "No {v} for me please, last time I ended up in hospital.",
        ],
        ["Who must avoid {v}?", "Is {p} allergic to {v}?", "What can {p} not eat or touch, {v} perhaps?"],
    ),
    "instrument": (
        ["cello", "accordion", "oboe", "banjo", "harpsichord", "trombone", "ukulele", "bagpipes"],
        [
            "I have been practising the {v} for an hour a day.",
            "My {v} teacher says that I should play in front of people.",
            "I bought a second-hand {v} at the market.",
        ],
        ["Who plays the {v}?", "Which instrument is {p} learning?", "Did {p} buy a {v}?"],
    ),
    "food": (
        ["moussaka", "laksa", "pierogi", "ceviche", "injera", "gnocchi", "bibimbap", "shakshuka"],
        [
            "I cooked {v} yesterday and everybody had seconds.",
            "If we go out, let it be {v}, nothing makes me happier.",
            "My grandmother taught me how to make {v}.",
        ],
        ["What dish does {p} love?", "Who cooks {v}?", "Has {p} ever made {v}?"],
    ),
    "job": (
        ["surveyor", "midwife", "locksmith", "beekeeper", "translator", "welder", "librarian", "geologist"],
        [
            "I start as a {v} next week, a bit nervous.",
            "I quit the office; I am going to be a {v}.",
            "As a {v} I never get bored.",
        ],
        ["What does {p} do for a living?", "Who became a {v}?", "Is {p} working as a {v} now?"],
    ),
    "trip": (
        ["Tbilisi", "Valparaiso", "Zanzibar", "Reykjavik", "Ljubljana", "Hokkaido", "Tallinn", "Marrakesh"],
        [
            "We flew to {v} and the food was wonderful.",
            "I am back from {v}, still tired from the journey.",
            "I drove all the way to {v} in the old van.",
        ],
        ["Where did {p} travel?", "Who went to {v}?", "When was {p} flying to {v}?"],
    ),
    "book": (
        [
            "lighthouses",
            "mushrooms",
            "glaciers",
            "cartography",
            "falconry",
            "clockmaking",
            "volcanoes",
            "typography",
        ],
        [
            "I am reading a thick book about {v}.",
            "The lecture on {v} was worth the evening.",
            "Nobody warned me how much there is to know about {v}.",
        ],
        [
            "What has {p} been reading about?",
            "Who is interested in {v}?",
            "Which subject did {p} read up on?",
        ],
    ),
    "injury": (
        ["ankle", "shoulder", "wrist", "collarbone", "knee", "elbow", "thumb", "rib"],
        [
            "I broke my {v} on the stairs, six weeks of rest.",
            "The doctor put my {v} in a cast.",
            "My {v} still hurts when it rains.",
        ],
        ["What did {p} break?", "Who hurt their {v}?", "Which part of the body did {p} injure?"],
    ),
}

# A question and its answer in two turns; the later question shares words with the first question alone.
DIALOGUES: list[tuple[str, str, str]] = [
    ("Which colour should the kitchen walls be?", "Sage, and a bit of cream.", "What colour was chosen for the kitchen walls?"),
    ("What is the name of your landlord?", "Mr Okonkwo-Lindqvist.", "How is the landlord called?"),
    ("When does the swimming course begin?", "Tuesdays at seven.", "When is the swimming course?"),
    ("What did the mechanic say about the gearbox?", "It is done for.", "What is wrong with the gearbox?"),
    ("How many guests are coming to the wedding?", "Eighty-four, all told.", "How many people come to the wedding?"),
    ("Who looks after the garden while you are away?", "My cousin Benedikt.", "Who takes care of the garden during holidays?"),
    ("What is the password hint for the router?", "Grandma's first street.", "What was the hint for the router?"),
    ("Which insurance did you pick for the motorbike?", "The one without excess.", "Which insurance covers the motorbike?"),
    ("Where did you hide the birthday present?", "Behind the ironing board.", "Where is the present for the birthday hidden?"),
    ("How much did the plumber charge?", "A hundred and ninety.", "What did the plumber cost?"),
    ("Why is the choir rehearsal cancelled?", "The hall has no heating.", "Why was the choir not rehearsing?"),
    ("What size are the curtains in the study?", "One forty by two twenty.", "How large are the study's curtains?"),
    ("Which school does your nephew go to?", "Saint Brendan, by the canal.", "What school does the nephew attend?"),
    ("What does the baby drink at night?", "Warm oat milk.", "What is the baby drinking at night?"),
    ("Did the tax office answer your objection?", "They refused it.", "How did the tax office react to the objection?"),
    ("What is the gate code of the allotment?", "Four seven one one.", "Which code opens the allotment gate?"),
]  # fmt: skip

CHATTER = [
    "Good morning, how did you sleep?", "Not bad, and you?", "The weather is {w} today.", "I have to go shopping later.",
    "Did you see the news?", "I could not believe it.", "That sounds {w}.", "Let us talk about it tomorrow.",
    "The bus was late again.", "I am so tired of meetings.", "What are you doing at the weekend?", "Nothing much, maybe a walk.",
    "The children are {w} today.", "I need more coffee.", "My phone is almost empty.", "That is what I thought, too.",
    "Thanks, that is very kind of you.", "You are welcome!", "I will call you when I get home.", "The neighbours are {w} again.",
    "Could you send me the address?", "I forgot my umbrella.", "Work was {w}, as always.", "I cannot find my keys anywhere.",
    "We should meet more often.", "Yes, definitely.", "No, I do not think so.", "I heard something {w} on the radio.",
    "The dinner was {w}, thank you.", "My sister says hello.", "I would like to learn something new.", "Time flies.",
    "Do you remember the old house?", "Of course I do.", "I read something about {t}.", "People keep talking about {t}.",
    "My brother wants to buy a {t}.", "They had a documentary about {t} last night.", "I never liked {t} very much.",
    "Someone at work brought {t}.",
]  # fmt: skip
MOODS = [
    "lovely",
    "awful",
    "strange",
    "quiet",
    "loud",
    "splendid",
    "grey",
    "wild",
    "boring",
    "better",
    "worse",
]

SERVICES = [
    "billing", "checkout", "inventory", "notifier", "gateway", "scheduler", "search", "catalog", "auth", "reporting",
    "ingest", "thumbnails", "webhooks", "ledger", "profile", "recommender",
]  # fmt: skip

# Decisions: what, why, and a question.
DECISIONS: list[tuple[str, str, str]] = [
    ("Use PostgreSQL for {s}", "its JSON indexes beat what the document store offers", "Why was PostgreSQL chosen for {s}?"),
    ("Cache responses of {s} for five minutes", "the upstream quota is exhausted every noon", "For how long are {s} responses cached, and why?"),
    ("Drop support for XML in {s}", "nobody has sent any since spring", "Did we stop accepting XML in {s}?"),
    ("Retry {s} calls three times with jitter", "the load balancer drains nodes without a warning", "How often are failing {s} calls retried?"),
    ("Split {s} into reader and writer", "long exports were starving interactive users", "What was the reason to split {s}?"),
    ("Freeze deployments of {s} until the audit", "the auditors want a stable build", "Why can nobody deploy {s}?"),
    ("Rename the {s} table to events_v2", "the old one had no partition key", "What became of the {s} table's name?"),
    ("Keep logs of {s} for ninety days", "legal asked for a quarter", "What is the log retention of {s}?"),
    ("Write {s} in Rust", "garbage collection pauses broke the latency budget", "In which language is {s} written?"),
    ("Put {s} behind a feature flag", "marketing wants to choose the day", "Is {s} hidden behind a flag?"),
    ("Encrypt backups of {s} with age", "the cloud's own keys cannot be exported", "How are {s} backups protected?"),
    ("Move {s} to the Frankfurt region", "customers asked for data in the EU", "In which region does {s} run?"),
]  # fmt: skip

ERRORS: list[tuple[str, str]] = [
    ("{s}: connection refused by redis after {n} attempts", "Which service could not connect to redis {n} times: {s}?"),
    ("{s}: migration {n} failed, column already exists", "What failed in migration {n} of {s}?"),
    ("{s}: certificate expired {n} hours ago", "Whose certificate expired, that of {s}?"),
    ("{s}: out of memory while sorting {n} rows", "Why did {s} run out of memory?"),
    ("{s}: deadlock detected between transaction {n} and the vacuum", "Was there a deadlock in {s}?"),
    ("{s}: timezone Mars/Phobos{n} is unknown", "Which unknown timezone did {s} complain about?"),
    ("{s}: disk quota exceeded on node-{n}", "On which node was the disk full for {s}?"),
    ("{s}: webhook signature mismatch for customer {n}", "Which customer's webhook signature did not match in {s}?"),
]  # fmt: skip

STEPS = [
    "Ran the tests of {s}: {n} passed", "Read src/{s}/handlers/{t}.py", "Opened a pull request for {s}", "Restarted {s} on node-{n}",
    "Looked at the dashboard of {s}, latency is {n} ms", "Searched the repository for {t}", "Formatted {n} files in {s}",
    "Asked for a review of {s}", "Merged the branch {t}-{n}", "Queried {s}: SELECT count(*) FROM {t} returned {n}",
    "Waited for the pipeline of {s}", "Checked out commit {n}abcdef of {s}", "Updated the changelog of {s}",
    "The build of {s} took {n} seconds", "Downloaded the artifact {t}-{n}.tar.gz", "Scaled {s} to {n} replicas",
]  # fmt: skip
TOPICS = [
    "retry", "session", "cart", "invoice", "token", "export", "upload", "cursor", "metrics", "refund", "address", "quota",
    "tortoise", "cello", "glaciers", "moussaka", "garden", "gearbox", "router", "choir",
]  # fmt: skip

# Deployments; questions name the month or the day.
DEPLOYS: list[tuple[str, str]] = [
    ("Deployed {s} to production, version {n}.{m}", "Which version of {s} was deployed {when}?"),
    ("Rolled back {s} to {n}.{m} after complaints", "To what was {s} rolled back {when}?"),
    (
        "Rotated the credentials of {s}, ticket OPS-{n}{m}",
        "Under which ticket were {s} credentials rotated {when}?",
    ),
]

# Support: what a customer has, and a question.
TICKETS: list[tuple[str, str]] = [
    (
        "Customer {c} cannot print the delivery note, the margin is cut off",
        "What is the printing problem of customer {c}?",
    ),
    ("{c} asked to be invoiced quarterly instead of monthly", "How does {c} want to be invoiced?"),
    ("{c} reports that the export hangs at 99 percent", "Whose exports are hanging?"),
    ("Promised {c} a refund of the shipping costs", "Who was promised refunds for shipping?"),
    ("{c} prefers to be called after four in the afternoon", "When should we call {c}?"),
    ("{c} has moved, the new address is Harbour Lane", "Which address has {c} moved to?"),
]
CUSTOMERS = [
    "Albatross Freight", "Birchwood Dental", "Copperfield Looms", "Driftwood Cafe", "Evergreen Optics", "Foxglove Florists",
    "Granite Gym", "Heron Yachts", "Ironbark Tools", "Juniper Distillers", "Kestrel Couriers", "Larkspur Linen",
]  # fmt: skip

# A fact somewhere in a long tool output.
BURIED: list[tuple[str, str]] = [
    (
        "warning: the field shipping_zone is deprecated, use delivery_area",
        "Which field replaces the deprecated shipping_zone?",
    ),
    (
        "listening on 0.0.0.0:8443 with a self-signed certificate",
        "On which port does it listen with a self-signed certificate?",
    ),
    ("skipped 17 rows without a postcode", "How many rows without postcode were skipped?"),
    ("checksum mismatch in part 0042 of the snapshot", "Which part of the snapshot had the wrong checksum?"),
    (
        "license of package leftpadder is GPL-3.0, not on the allow list",
        "Which package has a forbidden license?",
    ),
    ("slowest query: SELECT * FROM shipments ORDER BY random()", "What was the slowest query?"),
    ("tenant orchid exceeded its soft limit of 40 GiB", "Which tenant exceeded the soft limit?"),
    ("flaky test: test_orders_are_split_across_warehouses", "Which test about warehouses is flaky?"),
]

# Other languages: a statement and a question.
LANGUAGES: list[tuple[str, str]] = [
    ("Der Kunde wünscht die Rechnung künftig auf Papier.", "Wer wünscht Rechnung auf Papier?"),
    ("Die Straße vor dem Lager ist bis Freitag gesperrt.", "Welche Strasse ist gesperrt?"),
    ("Unser Türschloss klemmt bei Kälte.", "Was klemmt bei Kälte am Turschloss?"),
    ("Клиент просит перенести встречу на четверг.", "На какой день перенести встречу?"),
    ("Пароль от склада хранится в сейфе.", "Где хранится пароль от склада?"),
    ("Ёлка стоит в холле до января.", "Где стоит елка?"),
    ("用户希望界面使用深色模式。", "界面用什么颜色模式？深色"),
    ("今天下午我们玩成语接龙游戏。", "什么时候玩成语接龙"),
    ("仓库的钥匙在红色盒子里。", "仓库钥匙在哪里"),
    ("パパは土曜日に釣りに行きます。", "パパはいつ釣りに行く"),
    ("会議室の予約は田中さんがしました。", "会議室を予約したのは誰"),
    ("配達は東京駅の北口にしてください。", "東京駅のどこに配達"),
    ("오늘 학교에서 바이올린을 배웠다.", "바이올린을 어디서 배웠나"),
    ("고객은 파란색 포장지를 원한다.", "고객이 원하는 포장지 색"),
    ("แมวของฉันชื่อมะลิและชอบปลา", "แมวชื่ออะไร"),
    ("ลูกค้าต้องการใบเสร็จภาษาอังกฤษ", "ลูกค้าต้องการใบเสร็จแบบไหน"),
    ("मेरी बिल्ली को मछली पसंद है।", "बिल्ली को क्या पसंद है"),
    ("ग्राहक हिन्दी में रसीद चाहता है।", "रसीद किस भाषा में चाहिए हिन्दी"),
    ("يفضل العميل الاتصال في المساء.", "متى يفضل العميل الاتصال"),
    ("مفتاح المستودع عند الحارس.", "أين مفتاح المستودع"),
    ("El cliente prefiere el café sin azúcar.", "¿Cómo prefiere el cafe el cliente?"),
    ("La réunion est déplacée au château.", "Où est la reunion au chateau ?"),
    ("Ο χρήστης θέλει σκούρο θέμα.", "τι θεμα θελει ο χρηστης"),
    ("Shipped it 🎉🎉 and the customer replied with 🦒", "who replied with 🦒"),
]

# The start of a session names its subject; the details share no word with that.
EVENTS = [
    "harvest festival", "chess tournament", "retirement party", "photo exhibition", "charity auction", "school reunion",
    "book fair", "sailing regatta", "village fete", "hackathon", "puppet show", "cheese tasting",
]  # fmt: skip
DETAILS: list[tuple[str, str]] = [
    ("The budget is {n} euros, not a cent more.", "What is the budget of the {e}?"),
    ("We need {n} chairs, the rest can stand.", "How many chairs does the {e} need?"),
    ("{p} brings the loudspeakers.", "Who is in charge of loudspeakers at the {e}?"),
    ("It begins at {n} past six.", "At what time does the {e} begin?"),
]
