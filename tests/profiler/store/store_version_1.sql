BEGIN TRANSACTION;
CREATE TABLE environments (
	"key" VARCHAR(255) NOT NULL, 
	facts TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "environments" VALUES('4f1f56d31c10576d','{"device_name":"NVIDIA L40S","torch_version":"2.9.0"}');
CREATE TABLE measurements (
	number INTEGER NOT NULL, 
	id VARCHAR(255) NOT NULL, 
	spec_key VARCHAR(255) NOT NULL, 
	environment_key VARCHAR(255) NOT NULL, 
	device TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	reason TEXT, 
	phase TEXT, 
	message TEXT, 
	repeat INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	sweep TEXT, 
	protocol TEXT NOT NULL, 
	step_seconds TEXT NOT NULL, 
	measured_at VARCHAR(32) NOT NULL, 
	peak_allocated_bytes BIGINT, 
	peak_reserved_bytes BIGINT, 
	peak_process_bytes BIGINT, 
	context_bytes BIGINT, 
	resident_bytes BIGINT, 
	warmup_peak_allocated_bytes BIGINT, 
	warmup_peak_reserved_bytes BIGINT, 
	warmup_peak_process_bytes BIGINT, 
	load_peak_allocated_bytes BIGINT, 
	forward_peak_allocated_bytes BIGINT, 
	backward_peak_allocated_bytes BIGINT, 
	optimizer_peak_allocated_bytes BIGINT, 
	evaluation_peak_allocated_bytes BIGINT, 
	save_peak_allocated_bytes BIGINT, 
	load_peak_reserved_bytes BIGINT, 
	forward_peak_reserved_bytes BIGINT, 
	backward_peak_reserved_bytes BIGINT, 
	optimizer_peak_reserved_bytes BIGINT, 
	evaluation_peak_reserved_bytes BIGINT, 
	save_peak_reserved_bytes BIGINT, 
	alloc_retries BIGINT, 
	oom_requested_bytes BIGINT, 
	oom_allocated_bytes BIGINT, 
	oom_reserved_bytes BIGINT, 
	steps_timed BIGINT, 
	warmup_steps BIGINT, 
	flops_per_step BIGINT, 
	trainable_parameters BIGINT, 
	total_parameters BIGINT, 
	metric_n BIGINT, 
	step_seconds_median DOUBLE, 
	step_seconds_p05 DOUBLE, 
	step_seconds_p95 DOUBLE, 
	step_seconds_ci95_low DOUBLE, 
	step_seconds_ci95_high DOUBLE, 
	host_seconds_median DOUBLE, 
	tokens_per_second DOUBLE, 
	tokens_per_second_nonpad DOUBLE, 
	samples_per_second DOUBLE, 
	mfu DOUBLE, 
	power_watts_mean DOUBLE, 
	energy_joules_per_step DOUBLE, 
	sm_clock_mhz_median DOUBLE, 
	temperature_celsius_max DOUBLE, 
	metric_value DOUBLE, 
	trial_seconds DOUBLE, 
	start_seconds DOUBLE, 
	load_seconds DOUBLE, 
	warmup_stable BOOLEAN, 
	throttled BOOLEAN, 
	device_busy BOOLEAN, 
	metric_name TEXT, 
	PRIMARY KEY (number), 
	UNIQUE (id), 
	FOREIGN KEY(spec_key) REFERENCES specs ("key"), 
	FOREIGN KEY(environment_key) REFERENCES environments ("key")
);
INSERT INTO "measurements" VALUES(1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','d33b74753ecfcea6','4f1f56d31c10576d','cuda:0','measured','ok',NULL,NULL,NULL,1,1,NULL,'{"warmup_steps":3}','[0.25,0.24,0.26]','2026-01-31T12:00:00.000250+00:00',NULL,5000000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.25,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.4375,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,'accuracy');
INSERT INTO "measurements" VALUES(2,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','aeef77aaff45a676','4f1f56d31c10576d','cuda:0','measured','oom','cuda-oom','backward',NULL,2,3,'night','{}','[]','2026-01-31T12:00:00.000500+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,2147483648,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "measurements" VALUES(3,'cccccccccccccccccccccccccccccccc','d33b74753ecfcea6','4f1f56d31c10576d','virtual:l40s','virtual','failed','error',NULL,'say "no"
ö',1,1,NULL,'{}','[]','2026-01-31T12:00:00.000750+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE sizeup_migrations (
	name VARCHAR(255) NOT NULL, 
	applied_at TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "sizeup_migrations" VALUES('initial_tables','2026-01-31T11:59:59.000000+00:00');
CREATE TABLE specs (
	"key" VARCHAR(255) NOT NULL, 
	spec TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "specs" VALUES('d33b74753ecfcea6','{"batch_size":4,"method":"lora","method_options":{"r":8,"target_modules":["q_proj","v_proj"]},"model":"meta-llama/Llama-3.2-1B","task":"causal-lm"}');
INSERT INTO "specs" VALUES('aeef77aaff45a676','{"batch_size":64,"model":"meta-llama/Llama-3.2-1B","task":"causal-lm"}');
CREATE INDEX ix_measurements_environment_key ON measurements (environment_key);
CREATE INDEX ix_measurements_spec_key ON measurements (spec_key);
CREATE INDEX ix_measurements_measured_at ON measurements (measured_at);
COMMIT;
