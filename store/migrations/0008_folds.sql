-- A student of some folds of the taught reports labels the one that it was not trained on: an arm of its own.
ALTER TABLE rounds RENAME TO rounds_before;
CREATE TABLE rounds (
    round_id VARCHAR NOT NULL,
    campaign_id VARCHAR NOT NULL,
    "round" INTEGER NOT NULL,
    arm VARCHAR NOT NULL CHECK (arm IN ('feedback', 'average', 'control', 'fold', 'linear')),
    labeler_id VARCHAR NOT NULL,
    adapter_hash VARCHAR,
    adapter_path VARCHAR,
    base VARCHAR,
    teacher_id VARCHAR,
    rows_hash VARCHAR,
    config JSON,
    seed BIGINT,
    run_id VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);
INSERT INTO rounds SELECT * FROM rounds_before;
DROP TABLE rounds_before;
COMMENT ON TABLE rounds IS 'One student of a campaign a row: a distillation round and its arm.';
COMMENT ON COLUMN rounds."round_id" IS 'The round.';
COMMENT ON COLUMN rounds."campaign_id" IS 'The campaign; its rounds share it.';
COMMENT ON COLUMN rounds."round" IS 'Number of the round, from 1.';
COMMENT ON COLUMN rounds."arm" IS 'feedback (fed with pseudo-labels), average (with the champion, where that one failed), control (the same budget without them), fold (trained without a fold of the taught reports, to label that one) or linear (a bag of words).';
COMMENT ON COLUMN rounds."labeler_id" IS 'Its student as a labeler; joins labelers.';
COMMENT ON COLUMN rounds."adapter_hash" IS 'Hash of the content of the adapter; NULL for the linear student, which has none.';
COMMENT ON COLUMN rounds."adapter_path" IS 'Where the adapter was written.';
COMMENT ON COLUMN rounds."base" IS 'The model that was trained.';
COMMENT ON COLUMN rounds."teacher_id" IS 'Whose labels it learnt from; joins teachers.';
COMMENT ON COLUMN rounds."rows_hash" IS 'Hash of its training rows, where one was kept.';
COMMENT ON COLUMN rounds."config" IS 'Settings of the campaign.';
COMMENT ON COLUMN rounds."seed" IS 'What chance was drawn from.';
COMMENT ON COLUMN rounds."run_id" IS 'The run that wrote it; joins runs.';
COMMENT ON COLUMN rounds."created_at" IS 'When it was written.';
