using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace ArmoFlow.Persistence.Migrations.Sqlite
{
    /// <inheritdoc />
    public partial class Operations : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "trigger",
                table: "runs",
                type: "TEXT",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "state",
                table: "run_tags",
                type: "TEXT",
                nullable: false,
                defaultValue: "Initial");

            migrationBuilder.CreateTable(
                name: "access_keys",
                columns: table => new
                {
                    id = table.Column<string>(type: "TEXT", nullable: false),
                    name = table.Column<string>(type: "TEXT", nullable: false),
                    scope = table.Column<string>(type: "TEXT", nullable: false),
                    hash = table.Column<string>(type: "TEXT", nullable: false),
                    created_at = table.Column<string>(type: "TEXT", nullable: false),
                    created_by = table.Column<string>(type: "TEXT", nullable: false),
                    expires_at = table.Column<string>(type: "TEXT", nullable: true),
                    last_used_at = table.Column<string>(type: "TEXT", nullable: true),
                    revoked_at = table.Column<string>(type: "TEXT", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_access_keys", x => x.id);
                });

            migrationBuilder.CreateTable(
                name: "audit_events",
                columns: table => new
                {
                    sequence = table.Column<long>(type: "INTEGER", nullable: false),
                    at = table.Column<string>(type: "TEXT", nullable: false),
                    actor = table.Column<string>(type: "TEXT", nullable: false),
                    action = table.Column<string>(type: "TEXT", nullable: false),
                    subject = table.Column<string>(type: "TEXT", nullable: false),
                    before = table.Column<string>(type: "TEXT", nullable: true),
                    after = table.Column<string>(type: "TEXT", nullable: true),
                    request_id = table.Column<string>(type: "TEXT", nullable: true),
                    previous_hash = table.Column<string>(type: "TEXT", nullable: false),
                    hash = table.Column<string>(type: "TEXT", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_audit_events", x => x.sequence);
                });

            migrationBuilder.CreateTable(
                name: "audit_heads",
                columns: table => new
                {
                    id = table.Column<int>(type: "INTEGER", nullable: false),
                    sequence = table.Column<long>(type: "INTEGER", nullable: false),
                    hash = table.Column<string>(type: "TEXT", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_audit_heads", x => x.id);
                });

            migrationBuilder.CreateTable(
                name: "datasets",
                columns: table => new
                {
                    name = table.Column<string>(type: "TEXT", nullable: false),
                    created_at = table.Column<string>(type: "TEXT", nullable: false),
                    created_by = table.Column<string>(type: "TEXT", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_datasets", x => x.name);
                });

            migrationBuilder.CreateTable(
                name: "firings",
                columns: table => new
                {
                    schedule = table.Column<string>(type: "TEXT", nullable: false),
                    due_at = table.Column<string>(type: "TEXT", nullable: false),
                    fired_at = table.Column<string>(type: "TEXT", nullable: false),
                    outcome = table.Column<string>(type: "TEXT", nullable: false),
                    detail = table.Column<string>(type: "TEXT", nullable: true),
                    run_id = table.Column<Guid>(type: "TEXT", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_firings", x => new { x.schedule, x.due_at });
                });

            migrationBuilder.CreateTable(
                name: "model_versions",
                columns: table => new
                {
                    model = table.Column<string>(type: "TEXT", nullable: false),
                    version = table.Column<int>(type: "INTEGER", nullable: false),
                    run_id = table.Column<Guid>(type: "TEXT", nullable: false),
                    digest = table.Column<string>(type: "TEXT", nullable: false),
                    created_at = table.Column<string>(type: "TEXT", nullable: false),
                    notes = table.Column<string>(type: "TEXT", nullable: true),
                    tags = table.Column<string>(type: "TEXT", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_model_versions", x => new { x.model, x.version });
                });

            migrationBuilder.CreateTable(
                name: "retrain_policies",
                columns: table => new
                {
                    name = table.Column<string>(type: "TEXT", nullable: false),
                    spec = table.Column<string>(type: "TEXT", nullable: false),
                    created_by = table.Column<string>(type: "TEXT", nullable: false),
                    paused_at = table.Column<string>(type: "TEXT", nullable: true),
                    versions = table.Column<string>(type: "TEXT", nullable: false),
                    last_run_id = table.Column<Guid>(type: "TEXT", nullable: true),
                    last_run_at = table.Column<string>(type: "TEXT", nullable: true),
                    turn = table.Column<int>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_retrain_policies", x => x.name);
                });

            migrationBuilder.CreateTable(
                name: "schedules",
                columns: table => new
                {
                    name = table.Column<string>(type: "TEXT", nullable: false),
                    cron = table.Column<string>(type: "TEXT", nullable: false),
                    time_zone = table.Column<string>(type: "TEXT", nullable: false),
                    spec = table.Column<string>(type: "TEXT", nullable: false),
                    misfire = table.Column<string>(type: "TEXT", nullable: false),
                    overlap = table.Column<string>(type: "TEXT", nullable: false),
                    jitter_seconds = table.Column<double>(type: "REAL", nullable: false),
                    active_since = table.Column<string>(type: "TEXT", nullable: false),
                    paused_at = table.Column<string>(type: "TEXT", nullable: true),
                    created_by = table.Column<string>(type: "TEXT", nullable: false),
                    updated_at = table.Column<string>(type: "TEXT", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_schedules", x => x.name);
                });

            migrationBuilder.CreateTable(
                name: "step_logs",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "TEXT", nullable: false),
                    run_id = table.Column<Guid>(type: "TEXT", nullable: false),
                    step = table.Column<string>(type: "TEXT", nullable: false),
                    slot = table.Column<int>(type: "INTEGER", nullable: false),
                    attempt = table.Column<int>(type: "INTEGER", nullable: false),
                    worker = table.Column<Guid>(type: "TEXT", nullable: false),
                    started_at = table.Column<string>(type: "TEXT", nullable: false),
                    ended_at = table.Column<string>(type: "TEXT", nullable: true),
                    outcome = table.Column<string>(type: "TEXT", nullable: false),
                    text = table.Column<string>(type: "TEXT", nullable: true),
                    sha256 = table.Column<string>(type: "TEXT", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_step_logs", x => x.id);
                });

            migrationBuilder.CreateTable(
                name: "dataset_files",
                columns: table => new
                {
                    dataset = table.Column<string>(type: "TEXT", nullable: false),
                    sha256 = table.Column<string>(type: "TEXT", nullable: false),
                    version = table.Column<int>(type: "INTEGER", nullable: false),
                    file_name = table.Column<string>(type: "TEXT", nullable: false),
                    bytes = table.Column<long>(type: "INTEGER", nullable: false),
                    rows = table.Column<long>(type: "INTEGER", nullable: true),
                    added_at = table.Column<string>(type: "TEXT", nullable: false),
                    added_by = table.Column<string>(type: "TEXT", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_dataset_files", x => new { x.dataset, x.sha256 });
                    table.ForeignKey(
                        name: "fk_dataset_files_datasets_dataset",
                        column: x => x.dataset,
                        principalTable: "datasets",
                        principalColumn: "name",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "alias_periods",
                columns: table => new
                {
                    id = table.Column<long>(type: "INTEGER", nullable: false)
                        .Annotation("Sqlite:Autoincrement", true),
                    model = table.Column<string>(type: "TEXT", nullable: false),
                    alias = table.Column<string>(type: "TEXT", nullable: false),
                    version = table.Column<int>(type: "INTEGER", nullable: false),
                    valid_from = table.Column<string>(type: "TEXT", nullable: false),
                    valid_until = table.Column<string>(type: "TEXT", nullable: true),
                    known_from = table.Column<string>(type: "TEXT", nullable: false),
                    known_until = table.Column<string>(type: "TEXT", nullable: true),
                    decided_by = table.Column<string>(type: "TEXT", nullable: false),
                    reason = table.Column<string>(type: "TEXT", nullable: true),
                    evidence = table.Column<string>(type: "TEXT", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_alias_periods", x => x.id);
                    table.ForeignKey(
                        name: "fk_alias_periods_model_versions_model_version",
                        columns: x => new { x.model, x.version },
                        principalTable: "model_versions",
                        principalColumns: new[] { "model", "version" },
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.InsertData(
                table: "audit_heads",
                columns: new[] { "id", "hash", "sequence" },
                values: new object[] { 1, "0000000000000000000000000000000000000000000000000000000000000000", 0L });

            migrationBuilder.CreateIndex(
                name: "ix_run_tags_tag_state_submitted_at",
                table: "run_tags",
                columns: new[] { "tag", "state", "submitted_at" });

            migrationBuilder.CreateIndex(
                name: "ix_alias_periods_model_alias",
                table: "alias_periods",
                columns: new[] { "model", "alias" },
                unique: true,
                filter: "valid_until is null and known_until is null");

            migrationBuilder.CreateIndex(
                name: "ix_alias_periods_model_alias_valid_from",
                table: "alias_periods",
                columns: new[] { "model", "alias", "valid_from" });

            migrationBuilder.CreateIndex(
                name: "ix_alias_periods_model_version",
                table: "alias_periods",
                columns: new[] { "model", "version" });

            migrationBuilder.CreateIndex(
                name: "ix_audit_events_action_sequence",
                table: "audit_events",
                columns: new[] { "action", "sequence" });

            migrationBuilder.CreateIndex(
                name: "ix_audit_events_actor_sequence",
                table: "audit_events",
                columns: new[] { "actor", "sequence" });

            migrationBuilder.CreateIndex(
                name: "ix_audit_events_at",
                table: "audit_events",
                column: "at");

            migrationBuilder.CreateIndex(
                name: "ix_audit_events_subject_sequence",
                table: "audit_events",
                columns: new[] { "subject", "sequence" });

            migrationBuilder.CreateIndex(
                name: "ix_dataset_files_sha256",
                table: "dataset_files",
                column: "sha256");

            migrationBuilder.CreateIndex(
                name: "ix_firings_run_id",
                table: "firings",
                column: "run_id");

            migrationBuilder.CreateIndex(
                name: "ix_model_versions_model_digest",
                table: "model_versions",
                columns: new[] { "model", "digest" },
                unique: true);

            migrationBuilder.CreateIndex(
                name: "ix_model_versions_run_id",
                table: "model_versions",
                column: "run_id");

            migrationBuilder.CreateIndex(
                name: "ix_step_logs_run_id_started_at",
                table: "step_logs",
                columns: new[] { "run_id", "started_at" });

            migrationBuilder.CreateIndex(
                name: "ix_step_logs_worker",
                table: "step_logs",
                column: "worker",
                filter: "ended_at is null");

            migrationBuilder.Sql("update run_tags set state = (select current_state from runs where correlation_id = run_id)");
            migrationBuilder.Sql("create trigger run_tags_state after update of current_state on runs begin update run_tags set state = new.current_state where run_id = new.correlation_id; end");
            migrationBuilder.Sql("create trigger audit_events_stay before delete on audit_events begin select raise(abort, 'audit events are never changed'); end");
            migrationBuilder.Sql("create trigger audit_events_stand before update on audit_events begin select raise(abort, 'audit events are never changed'); end");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.Sql("drop trigger run_tags_state; drop trigger audit_events_stay; drop trigger audit_events_stand");

            migrationBuilder.DropTable(
                name: "access_keys");

            migrationBuilder.DropTable(
                name: "alias_periods");

            migrationBuilder.DropTable(
                name: "audit_events");

            migrationBuilder.DropTable(
                name: "audit_heads");

            migrationBuilder.DropTable(
                name: "dataset_files");

            migrationBuilder.DropTable(
                name: "firings");

            migrationBuilder.DropTable(
                name: "retrain_policies");

            migrationBuilder.DropTable(
                name: "schedules");

            migrationBuilder.DropTable(
                name: "step_logs");

            migrationBuilder.DropTable(
                name: "model_versions");

            migrationBuilder.DropTable(
                name: "datasets");

            migrationBuilder.DropIndex(
                name: "ix_run_tags_tag_state_submitted_at",
                table: "run_tags");

            migrationBuilder.DropColumn(
                name: "trigger",
                table: "runs");

            migrationBuilder.DropColumn(
                name: "state",
                table: "run_tags");
        }
    }
}
