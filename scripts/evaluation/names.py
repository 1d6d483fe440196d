"""What coding, operations and support agents note, with names of code, paths, options, codes and versions.

Everything here was written for this project. The questions use the words of the names as a person says them.
"""

# ruff: noqa: E501 - tables are read across

from __future__ import annotations

CODING: list[tuple[str, str]] = [
    ("UserSessionManager drops its lock before the token is written; moved the write inside", "What was wrong in the session manager?"),
    ("HTTPServerError is raised when the upstream closes the socket early", "When do we raise the http server error?"),
    ("parseConfigFile2 honours includes, the old one did not", "Which function parses config files with includes?"),
    ("The refresh logic lives in src/auth/session_manager.py since the split", "In which file is the refresh logic of the session manager?"),
    ("auth.session.SessionStore evicts tokens after nine hours", "After how long does the session store evict tokens?"),
    ("Run the importer with --dry-run first: it prints the rows and writes none", "Is there a dry run of the importer?"),
    ("npm ci ends with ERR_CONN_RESET behind the proxy unless HTTPS_PROXY is set", "What does ERR_CONN_RESET during npm ci mean?"),
    ("Fixed #4711: the cursor skipped a row where a page ends", "What was issue 4711 about?"),
    ("Pinned pydantic to v1.2.3 until the validators are ported", "Why are we on pydantic 1.2.3?"),
    ("enableStrictMode must stay off in CI, the fixtures are too loose for it", "Can strict mode be enabled in CI?"),
    ("useDebouncedValue delays the search box by 300 ms", "By how much is the search box debounced?"),
    ("InvoicePDFRenderer leaks file handles on Windows", "What leaks when invoices are rendered as PDF?"),
    ("OrderRepositoryImpl.findByCustomerId reads the whole table", "Which method of the order repository is slow?"),
    ("PostgreSQL 15 with logical replication serves the read side", "Do we use postgres replication?"),
    ("createBrowserRouter took the place of the hash routes", "Which browser router do we use?"),
    ("MAX_RETRY_COUNT comes from the environment, see settings.py", "Where is the max retry count set?"),
    ("test_user_can_reset_password is flaky on Safari", "Which test about resetting a password is flaky?"),
    ("TestCheckoutFlow::test_empty_cart is red since the new tax rules", "What is red in the checkout flow?"),
    ("Renamed getCwd to resolveWorkingDirectory everywhere", "What is the function for the working directory called now?"),
    ("k8sClient.listPods times out above 500 pods", "Why does listing pods time out?"),
    ("node:internal/modules/cjs/loader throws MODULE_NOT_FOUND for ./dist/index.js", "Module not found in dist index?"),
    ("The pre-commit hook formats before it type-checks", "What does the precommit hook do first?"),
    ("docker-compose.override.yml mounts the source tree", "Which docker compose file mounts the sources?"),
    ("NullPointerException in PaymentGatewayAdapter.charge when the card is absent", "When does the payment gateway have a null pointer?"),
    ("Cannot read properties of undefined (reading 'billingAddress') in ProfileCard.tsx", "Which card cannot read the billing address?"),
    ("onBeforeUnload breaks the back button in WebViews", "What breaks the back button in web views?"),
    ("PaymentStatus has AWAITING_CAPTURE since schema 42", "Since which schema is there a payment status awaiting capture?"),
    ("fetchWithRetry backs off exponentially, at most 5 attempts", "How often does fetch with retry try?"),
    ("Links need BASE64_URL_SAFE tokens", "Which base64 do tokens in links need?"),
    ("git bisect blames 3fa9c2b, Cache compiled templates", "Which commit is 3fa9c2b?"),
    ("VirtualList wants a passive addEventListener('scroll')", "How must the virtual list listen to scroll events?"),
    ("Moved validation from EmailFormField to a zod schema", "Where did the validation of the email field go?"),
    ("lodash.isEqual replaced by fast-deep-equal, bundle minus 14 kB", "What replaced lodash isEqual?"),
    ("The feature flag new_checkout_ui is on for 10 percent", "For whom is the new checkout UI on?"),
]  # fmt: skip

OPERATIONS: list[tuple[str, str]] = [
    ("kube-proxy restarted on ip-10-0-3-17 after it was OOMKilled", "Which node restarted because a process was OOM killed?"),
    ("Raised max_connections of PostgreSQL to 400", "How many connections does postgres allow?"),
    ("CloudFront answers 403 because its OriginAccessIdentity was removed", "Why does cloud front deny access to the origin?"),
    ("CrashLoopBackOff of ingress-nginx: the ConfigMap had a tab", "Why was the ingress in a crash loop?"),
    ("Deploy of v2.14.0 stopped at half: p99 of /api/v1/orders above 2s", "Why did the deploy of 2.14.0 stop?"),
    ("DNS of api.eu-west-1.example.com names the old balancer", "Which balancer does eu west 1 name?"),
    ("ENOSPC on /var/lib/docker: pruned images, 38 GB free", "What was done when docker had no space?"),
    ("nightly-backup.timer fires at 02:30 UTC", "When does the nightly backup fire?"),
    ("Silenced HighErrorRate of checkout until Monday", "Is the alert about a high error rate silenced?"),
    ("terraform plan wants to replace aws_db_instance.main: do not apply", "Why must terraform not touch the db instance?"),
    ("Bucket acme-prod-logs has the rule ExpireAfter30Days", "When do prod logs expire?"),
    ("LetsEncrypt renewals fail since port 80 was closed", "Why does lets encrypt not renew?"),
    ("The data centre moved from Łódź to Kraków on 3 March", "When did the Lodz data centre move?"),
    ("Søren Kjær holds the pager this week", "What is Soren Kjaer doing?"),
    ("orderEvents.deadLetter of RabbitMQ holds 12,000 messages", "How many dead letter messages does rabbit hold?"),
    ("The collector drops spans when its memoryLimiter kicks in", "Why are spans dropped by the memory limiter?"),
    ("innodb_buffer_pool_size of MySQL doubled to 16G", "How large is the buffer pool?"),
    ("Grafana's alert DiskWillFillIn4Hours is a false alarm on tmpfs", "Is the disk fill alert real?"),
]  # fmt: skip

SUPPORT: list[tuple[str, str]] = [
    ("ACME-2291 cannot export: ExportJobTimeout after a minute", "Who has an export job timeout?"),
    ("ORD-88213 was refunded twice by mistake", "What happened to order 88213?"),
    ("INV2024/0815 shows the wrong VAT id", "What is wrong with invoice INV2024-0815?"),
    ("Push never arrives on her iPhone with iOS 17.2", "On which phone does push not arrive?"),
    ("Mrs Ødegård wants the parcel left at the kiosk", "Where does Mrs Odegard want the parcel?"),
    ("The Weißbier subscription of Müller & Söhne renews in May", "When is the weissbier subscription renewed?"),
    ("Error 0x80070057 appears when a playlist is saved", "When does 0x80070057 appear?"),
    ("Login fails with SAMLResponse expired: the clock is 7 minutes off", "Why does the saml login fail?"),
    ("Asked for a dark AdminPanel like the one of the shop", "Who wants a dark admin panel?"),
    ("McKinley Dental asked for the guide on rotating keys", "What did Mc Kinley want?"),
    ("WooCommerce 8.1 breaks paying on mobile", "Which commerce plugin breaks mobile paying?"),
    ("Moved from TeamBasic to TeamPro, prorated 14.20", "Who moved to team pro?"),
    ("Zażółć sp. z o.o. has a new office in Łomża", "Who has an office in lomza?"),
    ("TCK_5582: CSVImport rejects semicolons", "What does the csv import reject?"),
    ("Đorđe from Niš lost his second factor", "Who is Dorde?"),
    ("Her Cœur de Lion order came without the ribbon", "What was missing from the coeur de lion order?"),
]  # fmt: skip

# Sentences with the same words, apart from the names above.
OTHERS = [
    "Read src/{s}/session.py", "Opened a session of {s}", "The manager of {s} asked for numbers", "The server of {s} answered in {n} ms",
    "No error in {s} today", "Changed the config of {s}", "Ran {n} tests of {s}", "The order of arguments in {s} is odd",
    "Asked the {s} manager about a server", "The queue of {s} has {n} messages", "Looked at the user table of {s}",
    "An error of {n} percent in the report of {s}", "Renewed the lock of {s}", "The address of {s} is in the wiki",
    "Updated the {s} file", "A list of {n} pods of {s}", "Payment of invoice {n} arrived", "The status of {s} is green",
    "Searched the log of {s}", "Exported {n} rows of {s}", "The client of {s} retries {n} times", "Checked the strict mode of {s}",
    "Scrolled through {n} events", "The web page of {s} loads in {n} ms", "Called getUser and setUser of {s}",
    "UserController of {s} has {n} lines", "ServerConfig of {s} is read twice", "SessionToken of {s} rotates daily",
]  # fmt: skip
