-- Raw answers are long and alike: packed by zstd they take a fifth of the space, and a checkpoint an eighth of the time.
ALTER TABLE llm_calls RENAME TO llm_calls_before;
CREATE TABLE llm_calls (
    llm_call_id VARCHAR NOT NULL,
    run_id VARCHAR,
    report_id VARCHAR,
    agent VARCHAR,
    model VARCHAR NOT NULL,
    prompt_id VARCHAR,
    response VARCHAR USING COMPRESSION zstd,
    prompt_tokens BIGINT,
    cached_tokens BIGINT,
    completion_tokens BIGINT,
    cost_usd DOUBLE,
    latency_ms DOUBLE,
    attempts INTEGER NOT NULL,
    "error" VARCHAR,
    created_at TIMESTAMPTZ NOT NULL,
    retries VARCHAR[],
    repaired BOOLEAN,
    "sample" INTEGER,
    batch_id VARCHAR
);
INSERT INTO llm_calls SELECT * FROM llm_calls_before;
DROP TABLE llm_calls_before;
COMMENT ON TABLE llm_calls IS 'Every call of a language model, failed ones included: the cache of answers and the bill at once.';
COMMENT ON COLUMN llm_calls."llm_call_id" IS 'Hash of the request: asked again, it is answered from here. Several rows of one id are attempts that failed before one that did not.';
COMMENT ON COLUMN llm_calls."run_id" IS 'The run that made it; joins runs.';
COMMENT ON COLUMN llm_calls."report_id" IS 'The report that was sent; joins reports.';
COMMENT ON COLUMN llm_calls."agent" IS 'Which agent asked: llm_labeler, adjudicator and so on.';
COMMENT ON COLUMN llm_calls."model" IS 'The model, such as gpt-4o-2024-08-06 or stand-in; NULL for rules and people.';
COMMENT ON COLUMN llm_calls."prompt_id" IS 'The prompt; joins prompts.';
COMMENT ON COLUMN llm_calls."response" IS 'The raw answer; NULL where the call failed.';
COMMENT ON COLUMN llm_calls."prompt_tokens" IS 'Tokens sent.';
COMMENT ON COLUMN llm_calls."cached_tokens" IS 'Of prompt_tokens, those that the endpoint had cached.';
COMMENT ON COLUMN llm_calls."completion_tokens" IS 'Tokens answered.';
COMMENT ON COLUMN llm_calls."cost_usd" IS 'US dollars; NULL where the price of the model is not known.';
COMMENT ON COLUMN llm_calls."latency_ms" IS 'Milliseconds from request to answer.';
COMMENT ON COLUMN llm_calls."attempts" IS 'Attempts that the call took.';
COMMENT ON COLUMN llm_calls."error" IS 'Why it failed; NULL where it did not.';
COMMENT ON COLUMN llm_calls."created_at" IS 'When it was written.';
COMMENT ON COLUMN llm_calls."retries" IS 'Why each attempt but the last failed.';
COMMENT ON COLUMN llm_calls."repaired" IS 'Whether the answer is the model''s second one, given after it was shown what was wrong with the first.';
COMMENT ON COLUMN llm_calls."sample" IS 'Which of several answers to the same request it is, from 0.';
COMMENT ON COLUMN llm_calls."batch_id" IS 'The batch that it came in; joins batches; NULL for a live call.';
