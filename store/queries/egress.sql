-- title: Which reports went to which model
-- question: Of each corpus, how many reports were sent to which model, and does its policy allow that?
-- waits: yes
SELECT x.corpus, c.egress AS policy, c.licence, k.model, count(DISTINCT k.report_id) AS reports_sent, count(*) AS calls,
    min(k.created_at)::DATE AS "first", max(k.created_at)::DATE AS "last"
FROM llm_calls k
JOIN reports x USING (report_id)
LEFT JOIN corpora c ON c.corpus = x.corpus
GROUP BY x.corpus, c.egress, c.licence, k.model
ORDER BY x.corpus, k.model
