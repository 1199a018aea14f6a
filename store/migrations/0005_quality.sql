-- Measures of quality in SQL, for all labelers at once; `teachback evaluate` adds intervals.

-- What is known of a report's patient or origin: groups in which labelers are judged.
CREATE TABLE slices (
    report_id VARCHAR NOT NULL,
    slice VARCHAR NOT NULL,
    "value" VARCHAR NOT NULL
);

-- A labeler's last status of each finding that a person has judged too.
CREATE VIEW judged_labels AS
SELECT l.label_id, l.report_id, l.target, l.status, c.status AS curated, l.confidence, l.scope, l.labeler_id,
    b.kind AS labeler_kind, b.name AS labeler, l.round_id, x.corpus, s.split
FROM labels l
JOIN curated_labels c USING (report_id, task, target)
JOIN labelers b ON b.labeler_id = l.labeler_id
LEFT JOIN reports x ON x.report_id = l.report_id
LEFT JOIN splits s ON s.report_id = l.report_id
WHERE b.kind <> 'human' AND l.task = 'findings'
QUALIFY row_number() OVER (
    PARTITION BY l.labeler_id, l.report_id, l.target ORDER BY l.created_at DESC, l.label_id) = 1;

-- Which group a label is in: one word names the dimension. Ages go by twenties.
CREATE MACRO label_group(dimension, split, corpus, scope, round_id, found) AS
    CASE dimension
        WHEN 'all' THEN 'all'
        WHEN 'split' THEN split
        WHEN 'corpus' THEN corpus
        WHEN 'scope' THEN scope
        WHEN 'round' THEN round_id
        WHEN 'age' THEN coalesce(printf('%02d-%02d', floor(try_cast(found AS DOUBLE) / 20)::INTEGER * 20,
            floor(try_cast(found AS DOUBLE) / 20)::INTEGER * 20 + 19), found)
        ELSE found
    END;

CREATE MACRO scores(dimension := 'all') AS TABLE
WITH cells AS (
    SELECT j.labeler_id, j.labeler, coalesce(
        label_group(dimension, j.split, j.corpus, j.scope, j.round_id, v."value"), '(unknown)') AS "group",
        j.target, j.status = 'present' AS called, j.curated = 'present' AS positive
    FROM judged_labels j
    LEFT JOIN slices v ON v.report_id = j.report_id AND v.slice = dimension
),
counted AS (
    SELECT c.labeler_id, c.labeler, c."group", CASE WHEN grouping(c.target) = 1 THEN 'micro' ELSE c.target END AS target,
        count(*) AS n, count(*) FILTER (c.positive) AS positives, count(*) FILTER (c.called) AS called,
        count(*) FILTER (c.called AND c.positive) AS tp, count(*) FILTER (c.called AND NOT c.positive) AS fp,
        count(*) FILTER (c.positive AND NOT c.called) AS fn
    FROM cells c
    GROUP BY GROUPING SETS ((c.labeler_id, c.labeler, c."group", c.target), (c.labeler_id, c.labeler, c."group"))
),
scored AS (
    SELECT k.*, k.tp / nullif(k.called, 0) AS "precision", k.tp / nullif(k.positives, 0) AS recall,
        2 * k.tp / nullif(k.positives + k.called, 0) AS f1
    FROM counted k
),
means AS (
    SELECT o.labeler_id, o.labeler, o."group", m.target, sum(o.n)::BIGINT AS n, sum(o.positives)::BIGINT AS positives,
        sum(o.called)::BIGINT AS called, sum(o.tp)::BIGINT AS tp, sum(o.fp)::BIGINT AS fp, sum(o.fn)::BIGINT AS fn,
        sum(o."precision" * m.weight) / sum(m.weight) FILTER (o."precision" IS NOT NULL) AS "precision",
        sum(o.recall * m.weight) / sum(m.weight) AS recall, sum(o.f1 * m.weight) / sum(m.weight) AS f1
    FROM scored o
    JOIN LATERAL (VALUES ('macro', 1), ('weighted', o.positives)) AS m(target, weight) ON true
    WHERE o.target <> 'micro' AND o.positives > 0
    GROUP BY o.labeler_id, o.labeler, o."group", m.target
)
SELECT a.labeler_id, a.labeler, a."group", a.target, a.n, a.positives, a.called, a.tp, a.fp, a.fn, a."precision",
    a.recall, a.f1
FROM (FROM scored UNION ALL BY NAME FROM means) a
ORDER BY a.labeler, a.labeler_id, a."group", a.target IN ('micro', 'macro', 'weighted'), a.target;

CREATE MACRO status_confusion(dimension := 'all') AS TABLE
SELECT j.labeler_id, j.labeler, coalesce(
    label_group(dimension, j.split, j.corpus, j.scope, j.round_id, v."value"), '(unknown)') AS "group",
    j.target, j.curated, j.status, count(*) AS n
FROM judged_labels j
LEFT JOIN slices v ON v.report_id = j.report_id AND v.slice = dimension
GROUP BY ALL
ORDER BY ALL;

CREATE MACRO calibration_scores(bins := 10) AS TABLE
WITH judged AS (
    SELECT j.labeler_id, j.labeler, j.target, j.confidence,
        ((j.status = 'present') = (j.curated = 'present'))::INTEGER AS is_right,
        least(floor(j.confidence * bins), bins - 1) AS bin
    FROM judged_labels j
    WHERE j.confidence IS NOT NULL
),
binned AS (
    SELECT d.labeler_id, d.labeler, CASE WHEN grouping(d.target) = 1 THEN 'all' ELSE d.target END AS target, d.bin,
        count(*) AS n, sum(d.confidence) AS sure, sum(d.is_right) AS good,
        sum((d.confidence - d.is_right) ** 2) AS squares
    FROM judged d
    GROUP BY GROUPING SETS ((d.labeler_id, d.labeler, d.target, d.bin), (d.labeler_id, d.labeler, d.bin))
)
SELECT b.labeler_id, b.labeler, b.target, sum(b.n)::BIGINT AS n, sum(b.sure) / sum(b.n) AS confidence,
    sum(b.good) / sum(b.n) AS "right", sum(abs(b.sure - b.good)) / sum(b.n) AS ece, sum(b.squares) / sum(b.n) AS brier
FROM binned b
GROUP BY b.labeler_id, b.labeler, b.target
ORDER BY b.labeler, b.labeler_id, b.target <> 'all', b.target;

-- Cohen's kappa of each two labelers, people too, on what both labelled.
CREATE VIEW kappas AS
WITH said AS (
    SELECT report_id, target, labeler_id, labeler, status FROM current_labels WHERE task = 'findings'
),
pairs AS (
    SELECT a.labeler_id AS first_id, any_value(a.labeler) AS "first", b.labeler_id AS second_id,
        any_value(b.labeler) AS "second", a.target, a.status AS said_first, b.status AS said_second, count(*) AS n
    FROM said a JOIN said b ON a.report_id = b.report_id AND a.target = b.target AND a.labeler_id < b.labeler_id
    GROUP BY first_id, second_id, a.target, said_first, said_second
),
targets AS (
    SELECT first_id, any_value("first") AS "first", second_id, any_value("second") AS "second",
        CASE WHEN grouping(target) = 1 THEN 'all' ELSE target END AS target, said_first, said_second, sum(n) AS n
    FROM pairs
    GROUP BY GROUPING SETS ((first_id, second_id, target, said_first, said_second),
        (first_id, second_id, said_first, said_second))
),
marginals AS (
    SELECT *, sum(n) OVER (PARTITION BY first_id, second_id, target) AS total,
        sum(n) OVER (PARTITION BY first_id, second_id, target, said_first) AS of_first
    FROM targets
),
chance AS (
    SELECT m.first_id, m.second_id, m.target, sum(m.n * o.of_second) AS product
    FROM (SELECT first_id, second_id, target, said_first AS status, sum(n) AS n FROM targets GROUP BY ALL) m
    JOIN (SELECT first_id, second_id, target, said_second AS status, sum(n) AS of_second FROM targets GROUP BY ALL) o
        USING (first_id, second_id, target, status)
    GROUP BY ALL
)
SELECT m.first_id, any_value(m."first") AS "first", m.second_id, any_value(m."second") AS "second", m.target,
    any_value(m.total)::BIGINT AS n,
    coalesce(sum(m.n) FILTER (m.said_first = m.said_second), 0) / any_value(m.total) AS equal,
    coalesce(any_value(c.product), 0) / any_value(m.total) ** 2 AS by_chance,
    (equal - by_chance) / nullif(1 - by_chance, 0) AS kappa
FROM marginals m
LEFT JOIN chance c USING (first_id, second_id, target)
GROUP BY m.first_id, m.second_id, m.target;

-- Krippendorff's alpha of all labelers but students, people too.
CREATE VIEW alphas AS
WITH votes AS (
    SELECT report_id, target, status, count(*) AS n
    FROM current_labels
    WHERE task = 'findings' AND labeler_kind <> 'student'
    GROUP BY ALL
),
cells AS (
    SELECT report_id, target, sum(n) AS m, sum(n * n) AS squares,
        coalesce(sum(n) FILTER (status = 'present'), 0) AS present,
        coalesce(sum(n) FILTER (status = 'absent'), 0) AS absent,
        coalesce(sum(n) FILTER (status = 'uncertain'), 0) AS uncertain,
        coalesce(sum(n) FILTER (status = 'unmentioned'), 0) AS unmentioned
    FROM votes
    GROUP BY ALL
    HAVING sum(n) > 1
),
summed AS (
    SELECT CASE WHEN grouping(target) = 1 THEN 'all' ELSE target END AS target, count(*) AS cells, sum(m) AS n,
        sum((m * m - squares) / (m - 1)) AS observed,
        sum(present) ** 2 + sum(absent) ** 2 + sum(uncertain) ** 2 + sum(unmentioned) ** 2 AS squares
    FROM cells
    GROUP BY GROUPING SETS ((target), ())
)
SELECT target, cells, n::BIGINT AS labels, 1 - (n - 1) * observed / nullif(n * n - squares, 0) AS alpha FROM summed;

-- How a student's labels moved from those of the round before, whose predictions were fed back to it.
CREATE VIEW round_drift AS
WITH now AS (
    SELECT r.campaign_id, r."round", r.arm, r.round_id, b.labeler_id AS before_id, r.labeler_id
    FROM rounds r
    JOIN rounds b ON b.campaign_id = r.campaign_id AND b."round" = r."round" - 1 AND b.arm = 'feedback'
),
pairs AS (
    SELECT n.campaign_id, n."round", n.arm, n.round_id, l.target, p.status AS was, l.status AS is_now
    FROM now n
    JOIN labels l ON l.labeler_id = n.labeler_id AND l.task = 'findings'
    JOIN labels p ON p.labeler_id = n.before_id AND p.report_id = l.report_id AND p.task = l.task
        AND p.target = l.target
),
both_sides AS (
    SELECT round_id, target, status, count(*) FILTER (side = 'was') AS was, count(*) FILTER (side = 'now') AS is_now
    FROM (
        SELECT round_id, target, was AS status, 'was' AS side FROM pairs
        UNION ALL SELECT round_id, target, is_now, 'now' FROM pairs
    )
    GROUP BY ALL
),
shares AS (
    SELECT *, was / sum(was) OVER (PARTITION BY round_id, target) AS p,
        is_now / sum(is_now) OVER (PARTITION BY round_id, target) AS q, (p + q) / 2 AS m
    FROM both_sides
),
divergence AS (
    SELECT round_id, target, sum(
        CASE WHEN p > 0 THEN p * log2(p / m) ELSE 0 END + CASE WHEN q > 0 THEN q * log2(q / m) ELSE 0 END) / 2 AS bits
    FROM shares
    GROUP BY ALL
)
SELECT p.campaign_id, p."round", p.arm, p.round_id, p.target, count(*) AS n,
    avg((p.was = 'present')::INTEGER) AS present_before, avg((p.is_now = 'present')::INTEGER) AS present_now,
    avg((p.was <> p.is_now)::INTEGER) AS changed, any_value(d.bits) AS divergence
FROM pairs p
JOIN divergence d USING (round_id, target)
GROUP BY p.campaign_id, p."round", p.arm, p.round_id, p.target;

-- How well lists of diseases match the curated ones, by each rule that needs no list of synonyms.
CREATE VIEW disease_scores AS
WITH named AS (
    SELECT l.report_id, l.labeler_id, b.name AS labeler, b.kind = 'human' AS is_truth, l.target AS exact,
        trim(regexp_replace(lower(l.target), '[^\pL\pN]+', ' ', 'g')) AS normalised,
        nullif(regexp_extract(upper(trim(l.icd10)), '^[A-Z][0-9][0-9A-Z]'), '') AS icd3,
        nullif(regexp_extract(replace(upper(trim(l.icd10)), '.', ''), '^[A-Z][0-9][0-9A-Z]{1,5}$'), '') AS icd
    FROM labels l
    JOIN labelers b USING (labeler_id)
    WHERE l.task = 'diseases' AND l.status = 'present'
        AND (b.kind <> 'human' OR l.label_id IN (SELECT label_id FROM curated_labels WHERE task = 'diseases'))
),
keyed AS (UNPIVOT named ON exact, normalised, icd3, icd INTO NAME "rule" VALUE named_as),
-- Who names diseases and gave any label of a report has looked for them there, although it may have found none.
namers AS (SELECT DISTINCT labeler_id FROM labels WHERE task = 'diseases'),
looked AS (
    SELECT DISTINCT l.labeler_id, b.name AS labeler, b.kind = 'human' AS is_truth, l.report_id
    FROM labels l JOIN labelers b USING (labeler_id)
    WHERE l.labeler_id IN (FROM namers)
),
curated_reports AS (SELECT DISTINCT report_id FROM looked WHERE is_truth),
truth AS (SELECT DISTINCT report_id, "rule", named_as FROM keyed WHERE is_truth),
said AS (
    SELECT DISTINCT report_id, labeler_id, labeler, "rule", named_as FROM keyed
    WHERE NOT is_truth AND report_id IN (FROM curated_reports)
),
judged AS (SELECT * FROM looked WHERE NOT is_truth AND report_id IN (FROM curated_reports)),
expected AS (
    SELECT j.labeler_id, j.labeler, j.report_id, t."rule", t.named_as FROM judged j JOIN truth t USING (report_id)
),
matched AS (
    SELECT coalesce(e.labeler_id, s.labeler_id) AS labeler_id, coalesce(e.labeler, s.labeler) AS labeler,
        coalesce(e."rule", s."rule") AS "rule", e.named_as IS NOT NULL AND s.named_as IS NOT NULL AS tp,
        e.named_as IS NULL AS fp, s.named_as IS NULL AS fn
    FROM expected e
    FULL JOIN said s ON s.labeler_id = e.labeler_id AND s.report_id = e.report_id AND s."rule" = e."rule"
        AND s.named_as = e.named_as
)
SELECT labeler_id, labeler, "rule", count(*) FILTER (tp) AS tp, count(*) FILTER (fp) AS fp, count(*) FILTER (fn) AS fn,
    count(*) FILTER (tp) / nullif(count(*) FILTER (tp OR fp), 0) AS "precision",
    count(*) FILTER (tp) / nullif(count(*) FILTER (tp OR fn), 0) AS recall,
    2 * count(*) FILTER (tp) / nullif(2 * count(*) FILTER (tp) + count(*) FILTER (fp OR fn), 0) AS f1
FROM matched
GROUP BY labeler_id, labeler, "rule";

COMMENT ON TABLE slices IS 'What is known of a report''s patient or origin; groups in which labelers are judged.';
COMMENT ON COLUMN slices."report_id" IS 'The report.';
COMMENT ON COLUMN slices."slice" IS 'What is told, such as sex, age, site or year.';
COMMENT ON COLUMN slices."value" IS 'What it is for this report.';

COMMENT ON VIEW judged_labels IS 'A labeler''s last status of each finding that a person has judged too, beside the curated one.';
COMMENT ON COLUMN judged_labels."label_id" IS 'The label.';
COMMENT ON COLUMN judged_labels."report_id" IS 'Its report.';
COMMENT ON COLUMN judged_labels."target" IS 'The finding.';
COMMENT ON COLUMN judged_labels."status" IS 'What the labeler says.';
COMMENT ON COLUMN judged_labels."curated" IS 'What is curated.';
COMMENT ON COLUMN judged_labels."confidence" IS 'How sure the labeler is; NULL where it does not say.';
COMMENT ON COLUMN judged_labels."scope" IS 'The sections that the label was made from.';
COMMENT ON COLUMN judged_labels."labeler_id" IS 'Who says so.';
COMMENT ON COLUMN judged_labels."labeler_kind" IS 'Kind of labeler.';
COMMENT ON COLUMN judged_labels."labeler" IS 'Its name.';
COMMENT ON COLUMN judged_labels."round_id" IS 'The round that made it; NULL where it is no student''s.';
COMMENT ON COLUMN judged_labels."corpus" IS 'The corpus of the report.';
COMMENT ON COLUMN judged_labels."split" IS 'The split of the report.';

COMMENT ON VIEW kappas IS 'Cohen''s kappa of each two labelers, people too, on the findings that both labelled, over the whole store.';
COMMENT ON COLUMN kappas."first_id" IS 'One labeler.';
COMMENT ON COLUMN kappas."first" IS 'Its name.';
COMMENT ON COLUMN kappas."second_id" IS 'The other.';
COMMENT ON COLUMN kappas."second" IS 'Its name.';
COMMENT ON COLUMN kappas."target" IS 'The finding; all for all of them.';
COMMENT ON COLUMN kappas."n" IS 'Cells that both labelled.';
COMMENT ON COLUMN kappas."equal" IS 'Share of equal statuses.';
COMMENT ON COLUMN kappas."by_chance" IS 'Share that would be equal by chance.';
COMMENT ON COLUMN kappas."kappa" IS '(equal - by_chance) / (1 - by_chance); NULL where chance alone agrees always.';

COMMENT ON VIEW alphas IS 'Krippendorff''s alpha of all labelers but students, people too, over the whole store.';
COMMENT ON COLUMN alphas."target" IS 'The finding; all for all of them.';
COMMENT ON COLUMN alphas."cells" IS 'Reports, or cells, with two labels or more.';
COMMENT ON COLUMN alphas."labels" IS 'Labels of these.';
COMMENT ON COLUMN alphas."alpha" IS '1 - observed / expected disagreement; NULL where only one status was given.';

COMMENT ON VIEW round_drift IS 'How a student''s labels moved from those of the round before, on the reports that both labelled.';
COMMENT ON COLUMN round_drift."campaign_id" IS 'The campaign.';
COMMENT ON COLUMN round_drift."round" IS 'Number of the round.';
COMMENT ON COLUMN round_drift."arm" IS 'Its arm.';
COMMENT ON COLUMN round_drift."round_id" IS 'The round.';
COMMENT ON COLUMN round_drift."target" IS 'The finding.';
COMMENT ON COLUMN round_drift."n" IS 'Reports that both labelled.';
COMMENT ON COLUMN round_drift."present_before" IS 'Share of present, the round before.';
COMMENT ON COLUMN round_drift."present_now" IS 'Share of present in this round.';
COMMENT ON COLUMN round_drift."changed" IS 'Share of labels whose status changed.';
COMMENT ON COLUMN round_drift."divergence" IS 'Jensen-Shannon divergence of the two distributions over the statuses, in bits.';

COMMENT ON VIEW disease_scores IS 'How well lists of diseases match the curated ones, as sets, report by report.';
COMMENT ON COLUMN disease_scores."labeler_id" IS 'Whose labels.';
COMMENT ON COLUMN disease_scores."labeler" IS 'Its name.';
COMMENT ON COLUMN disease_scores."rule" IS 'exact: the same phrase; normalised: but for case and punctuation; icd3: the same ICD-10 category; icd: the same code.';
COMMENT ON COLUMN disease_scores."tp" IS 'Diseases in both lists.';
COMMENT ON COLUMN disease_scores."fp" IS 'Diseases that only the labeler names.';
COMMENT ON COLUMN disease_scores."fn" IS 'Diseases that only the curated list names.';
COMMENT ON COLUMN disease_scores."precision" IS 'tp / (tp + fp).';
COMMENT ON COLUMN disease_scores."recall" IS 'tp / (tp + fn).';
COMMENT ON COLUMN disease_scores."f1" IS '2 tp / (2 tp + fp + fn).';

COMMENT ON MACRO TABLE scores IS 'How well each labeler finds what is present, against curated labels: one row a labeler, group and finding. The dimension is all, split, corpus, scope, round, or the name of a slice such as sex. Of the findings with a curated positive, macro is the mean and weighted the mean weighted by positives; micro pools all cells. Uncertain is not present.
labeler_id: Whose labels.
labeler: Its name.
group: The group: a value of the dimension, or (unknown).
target: The finding; micro, macro or weighted for all of them.
n: Labels.
positives: Those whose curated status is present.
called: Those that the labeler calls present.
tp: Called and present.
fp: Called and not present.
fn: Present and not called.
precision: tp / called; NULL where nothing was called.
recall: tp / positives; NULL where there are none.
f1: 2 tp / (positives + called); NULL where both are 0.';

COMMENT ON MACRO TABLE status_confusion IS 'Each labeler''s statuses against the curated ones, counted. The dimension is as for scores.
labeler_id: Whose labels.
labeler: Its name.
group: The group: a value of the dimension, or (unknown).
target: The finding.
curated: The curated status.
status: The labeler''s.
n: Labels.';

COMMENT ON MACRO TABLE calibration_scores IS 'Whether confidence can be believed: one row a labeler and finding, with all for all findings. A label is right when it is present and should be, or is not and should not. bins are of equal width between 0 and 1.
labeler_id: Whose labels.
labeler: Its name.
target: The finding; all for all of them.
n: Labels with a confidence.
confidence: Mean confidence.
right: Share of them that is right.
ece: Expected calibration error.
brier: Brier score.';

COMMENT ON MACRO label_group IS 'The group of a label in one dimension; a part of scores and status_confusion.';
