-- title: ICD-10-CM codes that do not exist or are too short
-- question: Which codes did a labeler make up, or give without the digits that a bill needs?
-- waits: yes
SELECT b.name AS labeler, d.icd10_check AS what, d.icd10 AS code, d.target AS disease, count(*) AS labels,
    any_value(d.label_id) AS label_id
FROM doubtful_labels d
JOIN labelers b USING (labeler_id)
WHERE d.icd10_check IN ('category', 'unknown')
GROUP BY ALL
ORDER BY labels DESC, labeler, code, disease
