CREATE FUNCTION public.audit_log_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'audit_log is append-only: rows are neither changed nor removed'; END $$;
CREATE FUNCTION public.evidence_steps_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'evidence_steps is append-only: rows are neither changed nor removed'; END $$;
CREATE FUNCTION public.intents_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'intents is append-only: rows are neither changed nor removed'; END $$;
CREATE FUNCTION public.memberships_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'memberships is append-only: rows are neither changed nor removed'; END $$;
CREATE FUNCTION public.outcomes_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'outcomes is append-only: rows are neither changed nor removed'; END $$;
CREATE FUNCTION public.predictions_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'predictions is append-only: rows are neither changed nor removed'; END $$;
CREATE FUNCTION public.records_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'records is append-only: rows are neither changed nor removed'; END $$;
CREATE FUNCTION public.rollouts_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'rollouts is append-only: rows are neither changed nor removed'; END $$;
CREATE FUNCTION public.statements_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'statements is append-only: rows are neither changed nor removed'; END $$;
CREATE FUNCTION public.transitions_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'transitions is append-only: rows are neither changed nor removed'; END $$;
CREATE TABLE public.audit_log (
    seq integer NOT NULL,
    at_utc character varying(32) NOT NULL,
    actor character varying(128) NOT NULL,
    action character varying(64) NOT NULL,
    subject character varying(160) NOT NULL,
    body text NOT NULL,
    body_sha256 character varying(64) NOT NULL,
    previous character varying(64) NOT NULL,
    entry_hash character varying(64) NOT NULL
);
CREATE TABLE public.chain_heads (
    chain character varying(64) NOT NULL,
    length integer NOT NULL,
    last_seq integer NOT NULL,
    head character varying(64) NOT NULL,
    sealed_length integer NOT NULL,
    sealed_head character varying(64) NOT NULL,
    sealed_utc character varying(32) NOT NULL,
    key_id character varying(32) NOT NULL,
    signature character varying(128) NOT NULL
);
CREATE TABLE public.evidence_states (
    rollout_id character varying(96) NOT NULL,
    step integer NOT NULL,
    state text NOT NULL
);
CREATE TABLE public.evidence_steps (
    seq integer NOT NULL,
    rollout_id character varying(96) NOT NULL,
    at double precision NOT NULL,
    state_sha256 character varying(64) NOT NULL,
    body text NOT NULL,
    body_sha256 character varying(64) NOT NULL,
    previous character varying(64) NOT NULL,
    entry_hash character varying(64) NOT NULL
);
CREATE TABLE public.intents (
    seq integer NOT NULL,
    intent_id character varying(64) NOT NULL,
    rollout_id character varying(96) NOT NULL,
    cancer character varying(64) NOT NULL,
    step character varying(16) NOT NULL,
    at double precision NOT NULL,
    recorded_at double precision NOT NULL,
    fencing_token integer NOT NULL,
    body text NOT NULL,
    body_sha256 character varying(64) NOT NULL,
    previous character varying(64) NOT NULL,
    entry_hash character varying(64) NOT NULL
);
CREATE TABLE public.leases (
    name character varying(128) NOT NULL,
    holder character varying(128) NOT NULL,
    token integer NOT NULL,
    expires double precision NOT NULL
);
CREATE TABLE public.memberships (
    seq integer NOT NULL,
    request_id character varying(128) NOT NULL,
    cancer character varying(64) NOT NULL,
    groups character varying(512) NOT NULL,
    previous character varying(64) NOT NULL,
    entry_hash character varying(64) NOT NULL
);
CREATE TABLE public.outcomes (
    seq integer NOT NULL,
    request_id character varying(128) NOT NULL,
    cancer character varying(64) NOT NULL,
    "time" double precision,
    event integer,
    label integer,
    observed_at double precision NOT NULL,
    recorded_at double precision NOT NULL,
    previous character varying(64) NOT NULL,
    entry_hash character varying(64) NOT NULL
);
CREATE TABLE public.predictions (
    seq integer NOT NULL,
    request_id character varying(128) NOT NULL,
    digest character varying(64) NOT NULL,
    cancer character varying(64) NOT NULL,
    rollout_id character varying(96),
    patient character varying(128) NOT NULL,
    arm character varying(16) NOT NULL,
    propensity double precision NOT NULL,
    risk double precision,
    status character varying(16) NOT NULL,
    predicted_at double precision NOT NULL,
    recorded_at double precision NOT NULL,
    previous character varying(64) NOT NULL,
    entry_hash character varying(64) NOT NULL
);
CREATE TABLE public.records (
    seq integer NOT NULL,
    kind character varying(16) NOT NULL,
    cancer character varying(64) NOT NULL,
    model_digest character varying(64) NOT NULL,
    key_id character varying(32) NOT NULL,
    signature character varying(128) NOT NULL,
    recorded_utc character varying(32) NOT NULL,
    body text NOT NULL,
    body_sha256 character varying(64) NOT NULL,
    previous character varying(64) NOT NULL,
    entry_hash character varying(64) NOT NULL
);
CREATE TABLE public.rollouts (
    seq integer NOT NULL,
    id character varying(96) NOT NULL,
    cancer character varying(64) NOT NULL,
    champion character varying(64) NOT NULL,
    challenger character varying(64) NOT NULL,
    policy_digest character varying(64) NOT NULL,
    author character varying(64) NOT NULL,
    opened_at double precision NOT NULL,
    recorded_at double precision NOT NULL,
    body text NOT NULL,
    body_sha256 character varying(64) NOT NULL,
    previous character varying(64) NOT NULL,
    entry_hash character varying(64) NOT NULL
);
CREATE TABLE public.statements (
    seq integer NOT NULL,
    kind character varying(16) NOT NULL,
    cancer character varying(64) NOT NULL,
    model_digest character varying(64) NOT NULL,
    signer character varying(64) NOT NULL,
    key_id character varying(32) NOT NULL,
    signature character varying(128) NOT NULL,
    recorded_utc character varying(32) NOT NULL,
    body text NOT NULL,
    body_sha256 character varying(64) NOT NULL,
    previous character varying(64) NOT NULL,
    entry_hash character varying(64) NOT NULL
);
CREATE TABLE public.transitions (
    seq integer NOT NULL,
    rollout_id character varying(96) NOT NULL,
    cancer character varying(64) NOT NULL,
    action character varying(16) NOT NULL,
    stage character varying(16) NOT NULL,
    weight integer NOT NULL,
    is_open integer NOT NULL,
    actor character varying(64) NOT NULL,
    rule character varying(64) NOT NULL,
    at double precision NOT NULL,
    recorded_at double precision NOT NULL,
    fencing_token integer NOT NULL,
    body text NOT NULL,
    body_sha256 character varying(64) NOT NULL,
    previous character varying(64) NOT NULL,
    entry_hash character varying(64) NOT NULL
);
INSERT INTO public.audit_log VALUES (1, '2026-11-01T00:00:00.000+00:00', 'j-doe', 'train_model', '0000000000000000000000000000000000000000000000000000000000000000', '{"reason":"made before schema versions"}', '88e6a1275c6b4dd6d9986e8d32caf1a856e4a46069d6ec80da2800304df4c33d', '0000000000000000000000000000000000000000000000000000000000000000', '575d03893b480df6aac68a5e1a4ea645ed6b0a71155f4150732dbca5087241c9');
INSERT INTO public.audit_log VALUES (2, '2026-11-01T00:00:00.000+00:00', 'j-doe', 'train_model', '0000000000000000000000000000000000000000000000000000000000000001', '{"reason":"made before schema versions"}', '88e6a1275c6b4dd6d9986e8d32caf1a856e4a46069d6ec80da2800304df4c33d', '575d03893b480df6aac68a5e1a4ea645ed6b0a71155f4150732dbca5087241c9', '046c96aef670270ceef5d96352548f4162345b91382504d326205e61a62067b5');
INSERT INTO public.audit_log VALUES (3, '2026-11-01T00:00:00.000+00:00', 'j-doe', 'train_model', '0000000000000000000000000000000000000000000000000000000000000002', '{"reason":"made before schema versions"}', '88e6a1275c6b4dd6d9986e8d32caf1a856e4a46069d6ec80da2800304df4c33d', '046c96aef670270ceef5d96352548f4162345b91382504d326205e61a62067b5', '670e5ab3ab04a3b37957f153d75b437878821395eef21220c1885bee523e4669');
INSERT INTO public.chain_heads VALUES ('audit_log', 3, 3, '670e5ab3ab04a3b37957f153d75b437878821395eef21220c1885bee523e4669', 3, '670e5ab3ab04a3b37957f153d75b437878821395eef21220c1885bee523e4669', '2026-11-01T00:00:00.000+00:00', '4a8ccec79128dc81fee9a76b95134dd9', '398cabeb484643531ab363b11ee8f2ce83df18f1a757dcfbd6066113a0d51196b187f6a7a908201af5577fd14e64dbcc8b0b01ef07bd0058e47f23724006c009');
INSERT INTO public.chain_heads VALUES ('rollouts', 1, 1, 'b03e5146dabe2a66be21ceb50e8abea9d528e75326ca54fb4a7599855028f8f5', 0, '0000000000000000000000000000000000000000000000000000000000000000', '', '', '');
INSERT INTO public.chain_heads VALUES ('predictions', 8, 0, '75faa029b9167ad41bb83881aa89d950c51844904e881d8af1f91bef29042ff3', 0, '0000000000000000000000000000000000000000000000000000000000000000', '', '', '');
INSERT INTO public.chain_heads VALUES ('memberships', 4, 4, 'fd6009d599ec4331ab1784478ab2355d0db78e81be24c0b54aec431715d192ca', 0, '0000000000000000000000000000000000000000000000000000000000000000', '', '', '');
INSERT INTO public.chain_heads VALUES ('outcomes', 1, 0, 'f8044a20ee14ec22521e9391bedd9aaa86053050a9bfb27ea8497e8825644a28', 0, '0000000000000000000000000000000000000000000000000000000000000000', '', '', '');
INSERT INTO public.chain_heads VALUES ('journal', 0, 9, '0000000000000000000000000000000000000000000000000000000000000000', 0, '0000000000000000000000000000000000000000000000000000000000000000', '', '', '');
INSERT INTO public.leases VALUES ('colon', 'tick', 1, 1790000005);
INSERT INTO public.memberships VALUES (1, 'r0', 'colon', 'female', '0000000000000000000000000000000000000000000000000000000000000000', '4f624296b8b28a682ac0aaa4b11c2d5166dda76038de03476b57751463499c03');
INSERT INTO public.memberships VALUES (2, 'r1', 'colon', 'female', '4f624296b8b28a682ac0aaa4b11c2d5166dda76038de03476b57751463499c03', 'ee8f458913a6cc60368f94f2fa363bab04e521338486b17c59c2a605f48d18ce');
INSERT INTO public.memberships VALUES (3, 'r2', 'colon', 'female', 'ee8f458913a6cc60368f94f2fa363bab04e521338486b17c59c2a605f48d18ce', '426a0327f08200e95ccf74a5508dba5d9e4cdcfbffce189da40628870304763b');
INSERT INTO public.memberships VALUES (4, 'r3', 'colon', 'female', '426a0327f08200e95ccf74a5508dba5d9e4cdcfbffce189da40628870304763b', 'fd6009d599ec4331ab1784478ab2355d0db78e81be24c0b54aec431715d192ca');
INSERT INTO public.outcomes VALUES (9, 'r1', 'colon', NULL, NULL, 1, 1790000100, 1790000000, '0000000000000000000000000000000000000000000000000000000000000000', 'f8044a20ee14ec22521e9391bedd9aaa86053050a9bfb27ea8497e8825644a28');
INSERT INTO public.predictions VALUES (1, 'r0', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'colon', 'colon-0001', '0000000000000000000000000000000000000000000000000000000000000000', 'champion', 0, 0.25, 'ok', 1790000000, 1790000000, '0000000000000000000000000000000000000000000000000000000000000000', 'b51ce7d88384fe20385ba3fd5c002d8751ded5913eb94780577d530adb936261');
INSERT INTO public.predictions VALUES (2, 'r0', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'colon', 'colon-0001', '0000000000000000000000000000000000000000000000000000000000000000', 'shadow', 0, 0.25, 'ok', 1790000000, 1790000000, 'b51ce7d88384fe20385ba3fd5c002d8751ded5913eb94780577d530adb936261', '8fdf2ed4ef725c90d2c6fe84f00588acfc1d69f7c6b80f7afa698b06aff7a877');
INSERT INTO public.predictions VALUES (3, 'r1', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'colon', 'colon-0001', '0000000000000000000000000000000000000000000000000000000000000001', 'champion', 0, 0.265625, 'ok', 1790000001, 1790000000, '8fdf2ed4ef725c90d2c6fe84f00588acfc1d69f7c6b80f7afa698b06aff7a877', 'b0923cfadf44e9dca41c5d95ce9fc1dea1cacbe61f142a4ab7203b51783fd5ae');
INSERT INTO public.predictions VALUES (4, 'r1', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'colon', 'colon-0001', '0000000000000000000000000000000000000000000000000000000000000001', 'shadow', 0, 0.265625, 'ok', 1790000001, 1790000000, 'b0923cfadf44e9dca41c5d95ce9fc1dea1cacbe61f142a4ab7203b51783fd5ae', '557680f489c4432fe638c41da9cf28d92270c7444651c66478da5b2c83319fca');
INSERT INTO public.predictions VALUES (5, 'r2', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'colon', 'colon-0001', '0000000000000000000000000000000000000000000000000000000000000002', 'champion', 0, 0.28125, 'ok', 1790000002, 1790000000, '557680f489c4432fe638c41da9cf28d92270c7444651c66478da5b2c83319fca', 'db4f37f9cd3a042c3083f136c7a10e1dc8c45700a4eaa785ae11f93fcf7cf20a');
INSERT INTO public.predictions VALUES (6, 'r2', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'colon', 'colon-0001', '0000000000000000000000000000000000000000000000000000000000000002', 'shadow', 0, 0.28125, 'ok', 1790000002, 1790000000, 'db4f37f9cd3a042c3083f136c7a10e1dc8c45700a4eaa785ae11f93fcf7cf20a', '4341c3ce1ccb99cd940337de339cee35698f4e8d659237844094eb81cfddff34');
INSERT INTO public.predictions VALUES (7, 'r3', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'colon', 'colon-0001', '0000000000000000000000000000000000000000000000000000000000000003', 'champion', 0, 0.296875, 'ok', 1790000003, 1790000000, '4341c3ce1ccb99cd940337de339cee35698f4e8d659237844094eb81cfddff34', 'e53a0404d225516215548f06daf7ef766170e685aaec9e957a301372b7d92322');
INSERT INTO public.predictions VALUES (8, 'r3', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'colon', 'colon-0001', '0000000000000000000000000000000000000000000000000000000000000003', 'shadow', 0, 0.296875, 'ok', 1790000003, 1790000000, 'e53a0404d225516215548f06daf7ef766170e685aaec9e957a301372b7d92322', '75faa029b9167ad41bb83881aa89d950c51844904e881d8af1f91bef29042ff3');
INSERT INTO public.rollouts VALUES (1, 'colon-0001', 'colon', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', '337c4a597a0e2ea1526c19744f2b1bc2608c6b9761f13e471c8da2e0122ea483', 'j-doe', 1790000000, 1790000000, '{"policy":1}', '337c4a597a0e2ea1526c19744f2b1bc2608c6b9761f13e471c8da2e0122ea483', '0000000000000000000000000000000000000000000000000000000000000000', 'b03e5146dabe2a66be21ceb50e8abea9d528e75326ca54fb4a7599855028f8f5');
ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.chain_heads
    ADD CONSTRAINT chain_heads_pkey PRIMARY KEY (chain);
ALTER TABLE ONLY public.evidence_states
    ADD CONSTRAINT evidence_states_pkey PRIMARY KEY (rollout_id);
ALTER TABLE ONLY public.evidence_steps
    ADD CONSTRAINT evidence_steps_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.intents
    ADD CONSTRAINT intents_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_request_id_cancer_key UNIQUE (request_id, cancer);
ALTER TABLE ONLY public.outcomes
    ADD CONSTRAINT outcomes_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.outcomes
    ADD CONSTRAINT outcomes_request_id_cancer_key UNIQUE (request_id, cancer);
ALTER TABLE ONLY public.predictions
    ADD CONSTRAINT predictions_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.predictions
    ADD CONSTRAINT predictions_request_id_digest_key UNIQUE (request_id, digest);
ALTER TABLE ONLY public.records
    ADD CONSTRAINT records_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.rollouts
    ADD CONSTRAINT rollouts_id_key UNIQUE (id);
ALTER TABLE ONLY public.rollouts
    ADD CONSTRAINT rollouts_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.statements
    ADD CONSTRAINT statements_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.transitions
    ADD CONSTRAINT transitions_pkey PRIMARY KEY (seq);
CREATE INDEX ix_audit_log_subject ON public.audit_log USING btree (subject);
CREATE INDEX ix_evidence_steps_rollout_id ON public.evidence_steps USING btree (rollout_id);
CREATE INDEX ix_intents_cancer ON public.intents USING btree (cancer);
CREATE INDEX ix_intents_intent_id ON public.intents USING btree (intent_id);
CREATE INDEX ix_records_model_digest ON public.records USING btree (model_digest);
CREATE INDEX ix_rollouts_cancer ON public.rollouts USING btree (cancer);
CREATE INDEX ix_statements_model_digest ON public.statements USING btree (model_digest);
CREATE INDEX ix_transitions_rollout_id ON public.transitions USING btree (rollout_id);
CREATE INDEX predictions_by_patient ON public.predictions USING btree (rollout_id, patient, seq);
CREATE INDEX predictions_by_time ON public.predictions USING btree (rollout_id, predicted_at);
CREATE INDEX predictions_of_rollout ON public.predictions USING btree (rollout_id, seq);
CREATE TRIGGER audit_log_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION public.audit_log_refuse();
CREATE TRIGGER evidence_steps_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.evidence_steps FOR EACH STATEMENT EXECUTE FUNCTION public.evidence_steps_refuse();
CREATE TRIGGER intents_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.intents FOR EACH STATEMENT EXECUTE FUNCTION public.intents_refuse();
CREATE TRIGGER memberships_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.memberships FOR EACH STATEMENT EXECUTE FUNCTION public.memberships_refuse();
CREATE TRIGGER outcomes_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.outcomes FOR EACH STATEMENT EXECUTE FUNCTION public.outcomes_refuse();
CREATE TRIGGER predictions_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.predictions FOR EACH STATEMENT EXECUTE FUNCTION public.predictions_refuse();
CREATE TRIGGER records_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.records FOR EACH STATEMENT EXECUTE FUNCTION public.records_refuse();
CREATE TRIGGER rollouts_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.rollouts FOR EACH STATEMENT EXECUTE FUNCTION public.rollouts_refuse();
CREATE TRIGGER statements_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.statements FOR EACH STATEMENT EXECUTE FUNCTION public.statements_refuse();
CREATE TRIGGER transitions_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.transitions FOR EACH STATEMENT EXECUTE FUNCTION public.transitions_refuse();
