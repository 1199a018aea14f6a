-- title: Versions of the prompts, and what each was used for
-- question: Which versions of each prompt exist, and how many calls, tokens and dollars went through them?
-- waits: yes
WITH used AS (
    SELECT prompt_id, count(*) AS calls, count(DISTINCT report_id) AS reports, count("error") AS failed,
        sum(prompt_tokens) + sum(completion_tokens) AS tokens, sum(cost_usd) AS usd
    FROM llm_calls GROUP BY prompt_id
)
SELECT p.role, p.name, p.prompt_id, p.created_at AS since, length(p.text) AS characters, coalesce(u.calls, 0) AS calls,
    coalesce(u.reports, 0) AS reports, u.failed, u.tokens, round(u.usd, 6) AS usd
FROM prompts p
LEFT JOIN used u USING (prompt_id)
ORDER BY p.role, p.name, since, p.prompt_id
