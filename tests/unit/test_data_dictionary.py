"""The data dictionary says what the contracts say."""

from contracts import Column, Contract, RowRule, load_contracts
from contracts.dictionary import PAGE, data_dictionary


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == data_dictionary(load_contracts().values()), "make dictionary"


def test_a_column_is_shown_with_all_that_is_known_of_it():
    columns = (
        Column("id", "string", "Key.", required=True, max_length=16),
        Column("mail", "string", "a|b.", pii_class="email", pattern="^a|b$"),
        Column("rate", "decimal(9,6)", "Rate.", minimum=0, maximum=1.5, parent="other.id"),
        Column("kind", "string", "Kind.", allowed_values=("x", "y")),
        Column("sum", "bigint", "Sum.", derived=True, derivation="a plus b"),
    )
    rule = RowRule("ordered", "a < b", "A comes first.")
    page = data_dictionary([Contract("things", "1", "One row per thing.", columns, ("id",), "id", (rule,))])
    assert page.split("| --- |\n")[1].splitlines() == [
        "| `id` | string | Key. |  | required; at most 16 characters |  |",
        "| `mail` | string | a\\|b. | email | `^a\\|b$` |  |",
        "| `rate` | decimal(9,6) | Rate. |  | at least 0; at most 1.5 | `other.id` |",
        "| `kind` | string | Kind. |  | one of x, y |  |",
        "| `sum` | bigint | Sum. |  | derived: a plus b |  |",
        "",
        "Rules on rows:",
        "",
        "- `ordered`: `a < b`. A comes first.",
    ]
    assert "Key: `id`." in page
