-- title: The bill, by day, model and prompt
-- question: What was spent on which day, on which model and prompt, and what did an answer cost?
-- waits: yes
SELECT k.created_at::DATE AS "day", k.model, p.name AS prompt, k.agent, count(*) AS calls, count(k."error") AS failed,
    sum(k.prompt_tokens) + sum(k.completion_tokens) AS tokens, round(sum(k.cost_usd), 6) AS usd,
    round(sum(k.cost_usd) / nullif(count(*) - count(k."error"), 0), 6) AS usd_per_answer
FROM llm_calls k
LEFT JOIN prompts p USING (prompt_id)
GROUP BY ALL
ORDER BY "day", k.model, prompt, k.agent
