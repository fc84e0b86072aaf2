BEGIN TRANSACTION;
CREATE TABLE audit_log (
	seq INTEGER NOT NULL, 
	at_utc VARCHAR(32) NOT NULL, 
	actor VARCHAR(128) NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	subject VARCHAR(160) NOT NULL, 
	body TEXT NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "audit_log" VALUES(1,'2026-11-01T00:00:00.000+00:00','j-doe','train_model','0000000000000000000000000000000000000000000000000000000000000000','{"reason":"made before schema versions"}','88e6a1275c6b4dd6d9986e8d32caf1a856e4a46069d6ec80da2800304df4c33d','0000000000000000000000000000000000000000000000000000000000000000','575d03893b480df6aac68a5e1a4ea645ed6b0a71155f4150732dbca5087241c9');
INSERT INTO "audit_log" VALUES(2,'2026-11-01T00:00:00.000+00:00','j-doe','train_model','0000000000000000000000000000000000000000000000000000000000000001','{"reason":"made before schema versions"}','88e6a1275c6b4dd6d9986e8d32caf1a856e4a46069d6ec80da2800304df4c33d','575d03893b480df6aac68a5e1a4ea645ed6b0a71155f4150732dbca5087241c9','046c96aef670270ceef5d96352548f4162345b91382504d326205e61a62067b5');
INSERT INTO "audit_log" VALUES(3,'2026-11-01T00:00:00.000+00:00','j-doe','train_model','0000000000000000000000000000000000000000000000000000000000000002','{"reason":"made before schema versions"}','88e6a1275c6b4dd6d9986e8d32caf1a856e4a46069d6ec80da2800304df4c33d','046c96aef670270ceef5d96352548f4162345b91382504d326205e61a62067b5','670e5ab3ab04a3b37957f153d75b437878821395eef21220c1885bee523e4669');
CREATE TABLE chain_heads (
	chain VARCHAR(64) NOT NULL, 
	length INTEGER NOT NULL, 
	last_seq INTEGER NOT NULL, 
	head VARCHAR(64) NOT NULL, 
	sealed_length INTEGER NOT NULL, 
	sealed_head VARCHAR(64) NOT NULL, 
	sealed_utc VARCHAR(32) NOT NULL, 
	key_id VARCHAR(32) NOT NULL, 
	signature VARCHAR(128) NOT NULL, 
	PRIMARY KEY (chain)
);
INSERT INTO "chain_heads" VALUES('audit_log',3,3,'670e5ab3ab04a3b37957f153d75b437878821395eef21220c1885bee523e4669',3,'670e5ab3ab04a3b37957f153d75b437878821395eef21220c1885bee523e4669','2026-11-01T00:00:00.000+00:00','4a8ccec79128dc81fee9a76b95134dd9','398cabeb484643531ab363b11ee8f2ce83df18f1a757dcfbd6066113a0d51196b187f6a7a908201af5577fd14e64dbcc8b0b01ef07bd0058e47f23724006c009');
INSERT INTO "chain_heads" VALUES('rollouts',1,1,'b03e5146dabe2a66be21ceb50e8abea9d528e75326ca54fb4a7599855028f8f5',0,'0000000000000000000000000000000000000000000000000000000000000000','','','');
INSERT INTO "chain_heads" VALUES('journal',0,9,'0000000000000000000000000000000000000000000000000000000000000000',0,'0000000000000000000000000000000000000000000000000000000000000000','','','');
INSERT INTO "chain_heads" VALUES('predictions',8,0,'75faa029b9167ad41bb83881aa89d950c51844904e881d8af1f91bef29042ff3',0,'0000000000000000000000000000000000000000000000000000000000000000','','','');
INSERT INTO "chain_heads" VALUES('memberships',4,4,'fd6009d599ec4331ab1784478ab2355d0db78e81be24c0b54aec431715d192ca',0,'0000000000000000000000000000000000000000000000000000000000000000','','','');
INSERT INTO "chain_heads" VALUES('outcomes',1,0,'f8044a20ee14ec22521e9391bedd9aaa86053050a9bfb27ea8497e8825644a28',0,'0000000000000000000000000000000000000000000000000000000000000000','','','');
CREATE TABLE evidence_states (
	rollout_id VARCHAR(96) NOT NULL, 
	step INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	PRIMARY KEY (rollout_id)
);
CREATE TABLE evidence_steps (
	seq INTEGER NOT NULL, 
	rollout_id VARCHAR(96) NOT NULL, 
	at FLOAT NOT NULL, 
	state_sha256 VARCHAR(64) NOT NULL, 
	body TEXT NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE TABLE intents (
	seq INTEGER NOT NULL, 
	intent_id VARCHAR(64) NOT NULL, 
	rollout_id VARCHAR(96) NOT NULL, 
	cancer VARCHAR(64) NOT NULL, 
	step VARCHAR(16) NOT NULL, 
	at FLOAT NOT NULL, 
	recorded_at FLOAT NOT NULL, 
	fencing_token INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE TABLE leases (
	name VARCHAR(128) NOT NULL, 
	holder VARCHAR(128) NOT NULL, 
	token INTEGER NOT NULL, 
	expires FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "leases" VALUES('colon','tick',1,1790000005.0);
CREATE TABLE memberships (
	seq INTEGER NOT NULL, 
	request_id VARCHAR(128) NOT NULL, 
	cancer VARCHAR(64) NOT NULL, 
	groups VARCHAR(512) NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (request_id, cancer)
);
INSERT INTO "memberships" VALUES(1,'r0','colon','female','0000000000000000000000000000000000000000000000000000000000000000','4f624296b8b28a682ac0aaa4b11c2d5166dda76038de03476b57751463499c03');
INSERT INTO "memberships" VALUES(2,'r1','colon','female','4f624296b8b28a682ac0aaa4b11c2d5166dda76038de03476b57751463499c03','ee8f458913a6cc60368f94f2fa363bab04e521338486b17c59c2a605f48d18ce');
INSERT INTO "memberships" VALUES(3,'r2','colon','female','ee8f458913a6cc60368f94f2fa363bab04e521338486b17c59c2a605f48d18ce','426a0327f08200e95ccf74a5508dba5d9e4cdcfbffce189da40628870304763b');
INSERT INTO "memberships" VALUES(4,'r3','colon','female','426a0327f08200e95ccf74a5508dba5d9e4cdcfbffce189da40628870304763b','fd6009d599ec4331ab1784478ab2355d0db78e81be24c0b54aec431715d192ca');
CREATE TABLE outcomes (
	seq INTEGER NOT NULL, 
	request_id VARCHAR(128) NOT NULL, 
	cancer VARCHAR(64) NOT NULL, 
	time FLOAT, 
	event INTEGER, 
	label INTEGER, 
	observed_at FLOAT NOT NULL, 
	recorded_at FLOAT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (request_id, cancer)
);
INSERT INTO "outcomes" VALUES(9,'r1','colon',NULL,NULL,1,1790000100.0,1790000000.0,'0000000000000000000000000000000000000000000000000000000000000000','f8044a20ee14ec22521e9391bedd9aaa86053050a9bfb27ea8497e8825644a28');
CREATE TABLE predictions (
	seq INTEGER NOT NULL, 
	request_id VARCHAR(128) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	cancer VARCHAR(64) NOT NULL, 
	rollout_id VARCHAR(96), 
	patient VARCHAR(128) NOT NULL, 
	arm VARCHAR(16) NOT NULL, 
	propensity FLOAT NOT NULL, 
	risk FLOAT, 
	status VARCHAR(16) NOT NULL, 
	predicted_at FLOAT NOT NULL, 
	recorded_at FLOAT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (request_id, digest)
);
INSERT INTO "predictions" VALUES(1,'r0','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','colon','colon-0001','0000000000000000000000000000000000000000000000000000000000000000','champion',0.0,0.25,'ok',1790000000.0,1790000000.0,'0000000000000000000000000000000000000000000000000000000000000000','b51ce7d88384fe20385ba3fd5c002d8751ded5913eb94780577d530adb936261');
INSERT INTO "predictions" VALUES(2,'r0','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','colon','colon-0001','0000000000000000000000000000000000000000000000000000000000000000','shadow',0.0,0.25,'ok',1790000000.0,1790000000.0,'b51ce7d88384fe20385ba3fd5c002d8751ded5913eb94780577d530adb936261','8fdf2ed4ef725c90d2c6fe84f00588acfc1d69f7c6b80f7afa698b06aff7a877');
INSERT INTO "predictions" VALUES(3,'r1','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','colon','colon-0001','0000000000000000000000000000000000000000000000000000000000000001','champion',0.0,0.265625,'ok',1790000001.0,1790000000.0,'8fdf2ed4ef725c90d2c6fe84f00588acfc1d69f7c6b80f7afa698b06aff7a877','b0923cfadf44e9dca41c5d95ce9fc1dea1cacbe61f142a4ab7203b51783fd5ae');
INSERT INTO "predictions" VALUES(4,'r1','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','colon','colon-0001','0000000000000000000000000000000000000000000000000000000000000001','shadow',0.0,0.265625,'ok',1790000001.0,1790000000.0,'b0923cfadf44e9dca41c5d95ce9fc1dea1cacbe61f142a4ab7203b51783fd5ae','557680f489c4432fe638c41da9cf28d92270c7444651c66478da5b2c83319fca');
INSERT INTO "predictions" VALUES(5,'r2','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','colon','colon-0001','0000000000000000000000000000000000000000000000000000000000000002','champion',0.0,0.28125,'ok',1790000002.0,1790000000.0,'557680f489c4432fe638c41da9cf28d92270c7444651c66478da5b2c83319fca','db4f37f9cd3a042c3083f136c7a10e1dc8c45700a4eaa785ae11f93fcf7cf20a');
INSERT INTO "predictions" VALUES(6,'r2','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','colon','colon-0001','0000000000000000000000000000000000000000000000000000000000000002','shadow',0.0,0.28125,'ok',1790000002.0,1790000000.0,'db4f37f9cd3a042c3083f136c7a10e1dc8c45700a4eaa785ae11f93fcf7cf20a','4341c3ce1ccb99cd940337de339cee35698f4e8d659237844094eb81cfddff34');
INSERT INTO "predictions" VALUES(7,'r3','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','colon','colon-0001','0000000000000000000000000000000000000000000000000000000000000003','champion',0.0,0.296875,'ok',1790000003.0,1790000000.0,'4341c3ce1ccb99cd940337de339cee35698f4e8d659237844094eb81cfddff34','e53a0404d225516215548f06daf7ef766170e685aaec9e957a301372b7d92322');
INSERT INTO "predictions" VALUES(8,'r3','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','colon','colon-0001','0000000000000000000000000000000000000000000000000000000000000003','shadow',0.0,0.296875,'ok',1790000003.0,1790000000.0,'e53a0404d225516215548f06daf7ef766170e685aaec9e957a301372b7d92322','75faa029b9167ad41bb83881aa89d950c51844904e881d8af1f91bef29042ff3');
CREATE TABLE records (
	seq INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	cancer VARCHAR(64) NOT NULL, 
	model_digest VARCHAR(64) NOT NULL, 
	key_id VARCHAR(32) NOT NULL, 
	signature VARCHAR(128) NOT NULL, 
	recorded_utc VARCHAR(32) NOT NULL, 
	body TEXT NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE TABLE rollouts (
	seq INTEGER NOT NULL, 
	id VARCHAR(96) NOT NULL, 
	cancer VARCHAR(64) NOT NULL, 
	champion VARCHAR(64) NOT NULL, 
	challenger VARCHAR(64) NOT NULL, 
	policy_digest VARCHAR(64) NOT NULL, 
	author VARCHAR(64) NOT NULL, 
	opened_at FLOAT NOT NULL, 
	recorded_at FLOAT NOT NULL, 
	body TEXT NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
INSERT INTO "rollouts" VALUES(1,'colon-0001','colon','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','337c4a597a0e2ea1526c19744f2b1bc2608c6b9761f13e471c8da2e0122ea483','j-doe',1790000000.0,1790000000.0,'{"policy":1}','337c4a597a0e2ea1526c19744f2b1bc2608c6b9761f13e471c8da2e0122ea483','0000000000000000000000000000000000000000000000000000000000000000','b03e5146dabe2a66be21ceb50e8abea9d528e75326ca54fb4a7599855028f8f5');
CREATE TABLE statements (
	seq INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	cancer VARCHAR(64) NOT NULL, 
	model_digest VARCHAR(64) NOT NULL, 
	signer VARCHAR(64) NOT NULL, 
	key_id VARCHAR(32) NOT NULL, 
	signature VARCHAR(128) NOT NULL, 
	recorded_utc VARCHAR(32) NOT NULL, 
	body TEXT NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE TABLE transitions (
	seq INTEGER NOT NULL, 
	rollout_id VARCHAR(96) NOT NULL, 
	cancer VARCHAR(64) NOT NULL, 
	action VARCHAR(16) NOT NULL, 
	stage VARCHAR(16) NOT NULL, 
	weight INTEGER NOT NULL, 
	is_open INTEGER NOT NULL, 
	actor VARCHAR(64) NOT NULL, 
	rule VARCHAR(64) NOT NULL, 
	at FLOAT NOT NULL, 
	recorded_at FLOAT NOT NULL, 
	fencing_token INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	entry_hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE INDEX ix_audit_log_subject ON audit_log (subject);
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
        BEGIN SELECT RAISE(ABORT, 'audit_log is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
        BEGIN SELECT RAISE(ABORT, 'audit_log is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER audit_log_at_end BEFORE INSERT ON audit_log
        WHEN NEW.seq <= (SELECT max(seq) FROM audit_log) BEGIN SELECT RAISE(ABORT, 'audit_log is append-only: rows are neither changed nor removed'); END;
CREATE INDEX ix_records_model_digest ON records (model_digest);
CREATE TRIGGER records_no_update BEFORE UPDATE ON records
        BEGIN SELECT RAISE(ABORT, 'records is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER records_no_delete BEFORE DELETE ON records
        BEGIN SELECT RAISE(ABORT, 'records is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER records_at_end BEFORE INSERT ON records
        WHEN NEW.seq <= (SELECT max(seq) FROM records) BEGIN SELECT RAISE(ABORT, 'records is append-only: rows are neither changed nor removed'); END;
CREATE INDEX ix_statements_model_digest ON statements (model_digest);
CREATE TRIGGER statements_no_update BEFORE UPDATE ON statements
        BEGIN SELECT RAISE(ABORT, 'statements is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER statements_no_delete BEFORE DELETE ON statements
        BEGIN SELECT RAISE(ABORT, 'statements is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER statements_at_end BEFORE INSERT ON statements
        WHEN NEW.seq <= (SELECT max(seq) FROM statements) BEGIN SELECT RAISE(ABORT, 'statements is append-only: rows are neither changed nor removed'); END;
CREATE INDEX predictions_of_rollout ON predictions (rollout_id, seq);
CREATE TRIGGER predictions_no_update BEFORE UPDATE ON predictions
        BEGIN SELECT RAISE(ABORT, 'predictions is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER predictions_no_delete BEFORE DELETE ON predictions
        BEGIN SELECT RAISE(ABORT, 'predictions is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER predictions_at_end BEFORE INSERT ON predictions
        WHEN NEW.seq <= (SELECT max(seq) FROM predictions) BEGIN SELECT RAISE(ABORT, 'predictions is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER memberships_no_update BEFORE UPDATE ON memberships
        BEGIN SELECT RAISE(ABORT, 'memberships is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER memberships_no_delete BEFORE DELETE ON memberships
        BEGIN SELECT RAISE(ABORT, 'memberships is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER memberships_at_end BEFORE INSERT ON memberships
        WHEN NEW.seq <= (SELECT max(seq) FROM memberships) BEGIN SELECT RAISE(ABORT, 'memberships is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER outcomes_no_update BEFORE UPDATE ON outcomes
        BEGIN SELECT RAISE(ABORT, 'outcomes is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER outcomes_no_delete BEFORE DELETE ON outcomes
        BEGIN SELECT RAISE(ABORT, 'outcomes is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER outcomes_at_end BEFORE INSERT ON outcomes
        WHEN NEW.seq <= (SELECT max(seq) FROM outcomes) BEGIN SELECT RAISE(ABORT, 'outcomes is append-only: rows are neither changed nor removed'); END;
CREATE INDEX ix_rollouts_cancer ON rollouts (cancer);
CREATE TRIGGER rollouts_no_update BEFORE UPDATE ON rollouts
        BEGIN SELECT RAISE(ABORT, 'rollouts is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER rollouts_no_delete BEFORE DELETE ON rollouts
        BEGIN SELECT RAISE(ABORT, 'rollouts is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER rollouts_at_end BEFORE INSERT ON rollouts
        WHEN NEW.seq <= (SELECT max(seq) FROM rollouts) BEGIN SELECT RAISE(ABORT, 'rollouts is append-only: rows are neither changed nor removed'); END;
CREATE INDEX ix_transitions_rollout_id ON transitions (rollout_id);
CREATE TRIGGER transitions_no_update BEFORE UPDATE ON transitions
        BEGIN SELECT RAISE(ABORT, 'transitions is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER transitions_no_delete BEFORE DELETE ON transitions
        BEGIN SELECT RAISE(ABORT, 'transitions is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER transitions_at_end BEFORE INSERT ON transitions
        WHEN NEW.seq <= (SELECT max(seq) FROM transitions) BEGIN SELECT RAISE(ABORT, 'transitions is append-only: rows are neither changed nor removed'); END;
CREATE INDEX ix_intents_intent_id ON intents (intent_id);
CREATE INDEX ix_intents_cancer ON intents (cancer);
CREATE TRIGGER intents_no_update BEFORE UPDATE ON intents
        BEGIN SELECT RAISE(ABORT, 'intents is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER intents_no_delete BEFORE DELETE ON intents
        BEGIN SELECT RAISE(ABORT, 'intents is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER intents_at_end BEFORE INSERT ON intents
        WHEN NEW.seq <= (SELECT max(seq) FROM intents) BEGIN SELECT RAISE(ABORT, 'intents is append-only: rows are neither changed nor removed'); END;
CREATE INDEX ix_evidence_steps_rollout_id ON evidence_steps (rollout_id);
CREATE TRIGGER evidence_steps_no_update BEFORE UPDATE ON evidence_steps
        BEGIN SELECT RAISE(ABORT, 'evidence_steps is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER evidence_steps_no_delete BEFORE DELETE ON evidence_steps
        BEGIN SELECT RAISE(ABORT, 'evidence_steps is append-only: rows are neither changed nor removed'); END;
CREATE TRIGGER evidence_steps_at_end BEFORE INSERT ON evidence_steps
        WHEN NEW.seq <= (SELECT max(seq) FROM evidence_steps) BEGIN SELECT RAISE(ABORT, 'evidence_steps is append-only: rows are neither changed nor removed'); END;
CREATE INDEX predictions_by_time ON predictions (rollout_id, predicted_at);
CREATE INDEX predictions_by_patient ON predictions (rollout_id, patient, seq);
COMMIT;