"""The feature marts by DuckDB, from columns as they stand in Bronze: another engine, other ways.

Views: the five entities, ``customers_history`` and ``loans_history``. Tests compare Spark's marts with
these, and what needs features but no Spark takes them from here.
"""

from __future__ import annotations

FRAUD_SIGNALS = """
    WITH moves AS (
        SELECT t.account_id, a.currency, a.opened_date, CAST(t.transaction_at AS DATE) AS activity_date,
            hour(t.transaction_at) AS h,
               t.transaction_type AS kind, t.channel, t.direction, t.counterparty_iban AS other,
               CASE WHEN t.currency = a.currency THEN t.amount END AS amount,
               CASE a.currency WHEN 'GBP' THEN 8300 WHEN 'CHF' THEN 9400 WHEN 'PLN' THEN 43000 ELSE 10000
                   END AS edge
        FROM transactions t LEFT JOIN accounts a USING (account_id)
    ), days AS (
        SELECT account_id, activity_date, any_value(currency) AS currency, count(*) AS transaction_count,
               CAST(least(29, greatest(0, coalesce(activity_date - any_value(opened_date), 29))) AS INT)
                   AS days_open_before,
               coalesce(sum(amount) FILTER (direction = 'credit'), 0) AS credit_amount,
               coalesce(sum(amount) FILTER (direction = 'debit'), 0) AS debit_amount,
               coalesce(sum(amount) FILTER (kind = 'transfer_in'), 0) AS transfer_in_amount,
               coalesce(sum(amount) FILTER (kind = 'transfer_out'), 0) AS transfer_out_amount,
               count(*) FILTER (kind = 'cash_deposit' AND amount <= edge AND 10 * amount >= 8 * edge)
                   AS near_threshold_cash_count,
               count(*) FILTER (kind = 'card_payment' AND channel = 'online' AND amount <= 10)
                   AS small_online_card_count,
               coalesce(max(amount) FILTER (kind = 'card_payment' AND channel = 'online'), 0)
                   AS largest_online_card_amount,
               count(*) FILTER (kind = 'transfer_out' AND h < 5) AS night_transfer_out_count,
               coalesce(sum(amount) FILTER (kind = 'transfer_out' AND h < 5), 0) AS night_transfer_out_amount
        FROM moves GROUP BY account_id, activity_date
    ), back AS (
        SELECT d.*, CAST(sum(transaction_count) OVER w7 AS BIGINT) AS transaction_count_7d,
               CAST(sum(transaction_count) OVER w30 AS BIGINT) AS transaction_count_30d,
               CAST(sum(near_threshold_cash_count) OVER w10 AS BIGINT) AS near_threshold_cash_count_10d,
               sum(transfer_in_amount) OVER w7 AS transfer_in_amount_7d,
               sum(transfer_out_amount) OVER w7 AS transfer_out_amount_7d,
               CAST(sum(small_online_card_count) OVER w2 AS BIGINT) AS small_online_card_count_2d
        FROM days d
        WINDOW w2 AS (PARTITION BY account_id ORDER BY activity_date RANGE BETWEEN INTERVAL 1 DAY PRECEDING
            AND
                      CURRENT ROW),
               w7 AS (PARTITION BY account_id ORDER BY activity_date RANGE BETWEEN INTERVAL 6 DAY PRECEDING
                   AND
                      CURRENT ROW),
               w10 AS (PARTITION BY account_id ORDER BY activity_date RANGE BETWEEN INTERVAL 9 DAY
                   PRECEDING AND
                       CURRENT ROW),
               w30 AS (PARTITION BY account_id ORDER BY activity_date RANGE BETWEEN INTERVAL 29 DAY
                   PRECEDING AND
                       CURRENT ROW)
    ), met AS (
        SELECT d.account_id, d.activity_date,
               count(DISTINCT m.other) FILTER (m.kind = 'transfer_in') AS sender_count_3d,
               count(DISTINCT m.other) FILTER (m.kind = 'transfer_out') AS receiver_count_3d
        FROM days d JOIN moves m ON m.account_id = d.account_id
             AND m.activity_date BETWEEN d.activity_date - 2 AND d.activity_date
        GROUP BY ALL
    ), signed AS (
        SELECT b.*, sender_count_3d, receiver_count_3d,
               near_threshold_cash_count_10d >= 3 AS is_structuring,
               sender_count_3d >= 5 AS is_fan_in,
               receiver_count_3d >= 5 AS is_fan_out,
               transfer_in_amount_7d >= 500 AND 10 * transfer_out_amount_7d
                   BETWEEN 9 * transfer_in_amount_7d AND 11 * transfer_in_amount_7d AS is_pass_through,
               small_online_card_count_2d >= 5 AS is_card_testing,
               night_transfer_out_count >= 3 AS is_account_takeover,
               transaction_count >= 5 AND transaction_count * days_open_before
                   > 4 * (transaction_count_30d - transaction_count) AS is_velocity
        FROM back b JOIN met USING (account_id, activity_date)
    )
    SELECT *, CAST(date_trunc('month', activity_date) AS DATE) AS activity_month,
           CAST(is_structuring AS INT) + CAST(is_fan_in AS INT) + CAST(is_fan_out AS INT)
              + CAST(is_pass_through AS INT) + CAST(is_card_testing AS INT) + CAST(is_account_takeover AS INT)
              + CAST(is_velocity AS INT) AS signal_count
    FROM signed
"""

CUSTOMER_FEATURES = """
    WITH ends AS (
        SELECT CAST(m + INTERVAL 1 MONTH - INTERVAL 1 DAY AS DATE) AS as_of_date FROM (
            SELECT unnest(generate_series(
                date_trunc('month', min(transaction_at)), max(updated_at), INTERVAL 1 MONTH)) AS m FROM
                    transactions)
        WHERE as_of_date <= (SELECT CAST(max(updated_at) AS DATE) FROM transactions)
    ), known AS (
        SELECT c.*, as_of_date FROM customers_history c JOIN ends
        ON NOT c.is_deleted AND CAST(c.valid_from AS DATE) <= as_of_date
           AND (c.valid_to IS NULL OR CAST(c.valid_to AS DATE) > as_of_date)
    ), owed AS (
        SELECT k.customer_id, k.as_of_date, count(DISTINCT l.loan_id) AS loans,
               count(p.payment_id) AS overdue, max(k.as_of_date - p.due_date) AS days
        FROM known k JOIN loans l ON l.customer_id = k.customer_id AND l.start_date <= k.as_of_date
        LEFT JOIN payments p ON p.loan_id = l.loan_id AND p.due_date < k.as_of_date
             AND (p.amount_paid < p.amount_due OR p.paid_date IS NULL OR p.paid_date > k.as_of_date)
        GROUP BY ALL
    ), flows AS (
        SELECT k.customer_id, k.as_of_date, count(*) AS moves,
               sum(t.amount) FILTER (t.currency = k.currency AND t.direction = 'credit') AS came,
               sum(t.amount) FILTER (t.currency = k.currency AND t.direction = 'debit') AS went
        FROM known k JOIN accounts a ON a.customer_id = k.customer_id JOIN transactions t ON t.account_id =
            a.account_id
             AND CAST(t.transaction_at AS DATE) BETWEEN date_trunc('month', k.as_of_date) - INTERVAL 2 MONTH
                 AND k.as_of_date
        GROUP BY ALL
    )
    SELECT k.customer_id, k.as_of_date, segment, country, kyc_status, currency, credit_score, annual_income,
           CAST(k.as_of_date - onboarding_date AS INT) AS tenure_days,
           (SELECT count(*) FROM accounts a WHERE a.customer_id = k.customer_id AND a.opened_date <=
               k.as_of_date
               AND (a.closed_date IS NULL OR a.closed_date > k.as_of_date)) AS account_count,
           coalesce(loans, 0) AS loan_count, coalesce(overdue, 0) AS overdue_installment_count,
           CAST(coalesce(days, 0) AS INT) AS days_past_due, coalesce(moves, 0) AS transaction_count_3m,
           coalesce(came, 0) AS inflow_3m, coalesce(went, 0) AS outflow_3m
    FROM known k LEFT JOIN owed USING (customer_id, as_of_date) LEFT JOIN flows USING (customer_id,
        as_of_date)
"""

LOAN_DEFAULT_FEATURES = """
    WITH clock AS (
        SELECT CAST(max(updated_at) AS DATE) AS today
        FROM (SELECT updated_at FROM loans UNION ALL SELECT updated_at FROM payments)
    ), ends AS (
        SELECT CAST(q AS DATE) - 1 AS observation_date
        FROM (SELECT unnest(generate_series(DATE '1970-04-01', (SELECT today + 1 FROM clock), INTERVAL 3
            MONTH)) AS q)
    ), versions AS (
        SELECT *, CAST(valid_from AS DATE) AS from_day, coalesce(CAST(valid_to AS DATE), DATE '9999-12-31')
            AS to_day
        FROM customers_history WHERE NOT is_deleted
    ), terms AS (
        SELECT h.*, lag(valid_from) OVER time IS NULL AS is_first,
               coalesce(CAST(lead(valid_from) OVER time AS DATE), DATE '9999-12-31') AS to_day
        FROM loans_history h WHERE NOT is_deleted WINDOW time AS (PARTITION BY loan_id ORDER BY valid_from)
    ), observed AS (
        SELECT t.*, observation_date AS day FROM terms t JOIN ends ON observation_date >= start_date
             AND (is_first OR CAST(valid_from AS DATE) <= observation_date) AND to_day > observation_date
        WHERE loan_id IN (SELECT loan_id FROM loans)
    ), instalments AS (
        SELECT *, due_date + 91 AS defaults_on,
               CASE WHEN amount_paid >= amount_due THEN paid_date END AS settled_on
        FROM payments
    ), met AS (
        SELECT o.loan_id, o.day, due_date, settled_on, amount_due, principal_due, defaults_on,
               coalesce(settled_on <= day, false) AS settled,
               due_date <= day AS due, due_date < day AND NOT coalesce(settled_on <= day, false) AS overdue,
               due_date <= day AND due_date > day - INTERVAL 12 MONTH AS recent,
               greatest(least(coalesce(settled_on, day), day) - due_date, 0) AS late,
               CASE WHEN paid_date <= day THEN amount_paid ELSE 0 END AS part,
               defaults_on > day AND defaults_on <= day + INTERVAL 12 MONTH
                   AND (settled_on IS NULL OR settled_on > defaults_on) AS turns_bad,
               defaults_on <= day AND (settled_on IS NULL OR settled_on > greatest(defaults_on, day - 90))
                   AS is_bad
        FROM observed o LEFT JOIN instalments p USING (loan_id)
    ), seen AS (
        SELECT loan_id, day, coalesce(sum(CASE WHEN settled THEN principal_due END), 0) AS repaid,
               count(CASE WHEN due THEN 1 END) AS installments_due,
               count(CASE WHEN overdue THEN 1 END) AS overdue_installments,
               coalesce(sum(CASE WHEN overdue THEN amount_due - part END), 0) AS overdue_amount,
               coalesce(max(CASE WHEN overdue THEN day - due_date END), 0) AS days_past_due,
               coalesce(max(CASE WHEN due THEN late END), 0) AS worst_days_past_due,
               coalesce(max(CASE WHEN recent THEN late END), 0) AS worst_days_past_due_12m,
               count(CASE WHEN recent AND late > 0 THEN 1 END) AS late_installments_12m,
               coalesce(max(CASE WHEN settled AND due THEN amount_due END)
                   > 2 * min(CASE WHEN settled AND due THEN amount_due END), false) AS has_repaid_extra,
               coalesce(bool_or(is_bad), false) AS bad, coalesce(bool_or(turns_bad), false) AS goes_bad
        FROM met GROUP BY loan_id, day
    ), joined AS (
        SELECT o.*, s.* EXCLUDE (loan_id, day), c.segment, c.country, c.kyc_status, c.credit_score,
            c.annual_income,
               c.currency AS customer_currency, c.onboarding_date, o.annual_rate / 12 AS r
        FROM seen s JOIN observed o USING (loan_id, day)
        LEFT JOIN versions c ON c.customer_id = o.customer_id AND c.from_day <= o.day AND c.to_day > o.day
        WHERE NOT bad AND o.principal > repaid
    )
    SELECT loan_id, day AS observation_date, customer_id, product, repayment_type, collateral_type, currency,
           annual_rate, term_months,
           CAST(12 * (year(day) - year(start_date)) + month(day) - month(start_date)
               - CAST(day(day) < day(start_date) AS INT) AS INT) AS months_on_book,
           CAST(greatest(12 * (year(maturity_date) - year(day)) + month(maturity_date) - month(day)
               - CAST(day(maturity_date) < day(day) AS INT), 0) AS INT) AS months_left,
           principal, principal - repaid AS outstanding_principal, repaid / principal AS repaid_share,
           CAST(principal - repaid AS DOUBLE) / nullif(collateral_value, 0) AS loan_to_value,
           CASE WHEN currency = customer_currency THEN
               CAST(principal - repaid AS DOUBLE) / nullif(annual_income, 0)
               END AS loan_to_income,
           CASE WHEN currency = customer_currency AND repayment_type <> 'bullet' THEN
               CAST(12 * CAST(round(CASE
                   WHEN repayment_type = 'interest_only' THEN principal * CAST(annual_rate AS DOUBLE) / 12
                   WHEN annual_rate = 0 THEN principal / term_months
                   ELSE principal * CAST(annual_rate AS DOUBLE) / 12
                        / (1 - pow(1 + CAST(annual_rate AS DOUBLE) / 12, -term_months)) END, 2) AS
                            DECIMAL(18,2))
               AS DOUBLE) / nullif(annual_income, 0) END AS installment_to_income,
           installments_due, overdue_installments, overdue_amount, CAST(days_past_due AS INT) AS
               days_past_due,
           CAST(worst_days_past_due_12m AS INT) AS worst_days_past_due_12m,
           CAST(worst_days_past_due AS INT) AS worst_days_past_due,
           late_installments_12m, has_repaid_extra, segment, country, kyc_status, credit_score,
           CASE WHEN credit_score < 580 THEN 'poor' WHEN credit_score < 670 THEN 'fair'
                WHEN credit_score < 740 THEN 'good' WHEN credit_score < 800 THEN 'very_good'
                WHEN credit_score >= 800 THEN 'exceptional' END AS credit_band, annual_income,
           CAST(day - onboarding_date AS INT) AS tenure_days,
           CASE WHEN day + INTERVAL 12 MONTH <= (SELECT today FROM clock) THEN goes_bad END
               AS default_within_12_months
    FROM joined
"""

FEATURE_MARTS = {
    "fraud_signals": FRAUD_SIGNALS,
    "customer_features": CUSTOMER_FEATURES,
    "loan_default_features": LOAN_DEFAULT_FEATURES,
}
RATIOS = ("repaid_share", "loan_to_value", "loan_to_income", "installment_to_income")
