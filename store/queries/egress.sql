-- title: Which reports went to which model
-- question: Of each corpus, how many reports were sent to which model, and does its policy allow that?
-- waits: yes
WITH sent AS (
    SELECT report_id, model, count(*) AS calls, min(created_at) AS "first", max(created_at) AS "last"
    FROM llm_calls GROUP BY report_id, model
)
SELECT x.corpus, c.egress AS policy, c.licence, k.model, count(*) AS reports_sent, sum(k.calls)::BIGINT AS calls,
    min(k."first")::DATE AS "first", max(k."last")::DATE AS "last"
FROM sent k
JOIN reports x USING (report_id)
LEFT JOIN corpora c ON c.corpus = x.corpus
GROUP BY x.corpus, c.egress, c.licence, k.model
ORDER BY x.corpus, k.model
