"""Options of the whole test run."""


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz-messages",
        type=int,
        default=300,
        help="How many random messages each method of a worker gets (make fuzz: 10000).",
    )
