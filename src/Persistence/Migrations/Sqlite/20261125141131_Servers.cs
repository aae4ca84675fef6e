using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace ArmoFlow.Persistence.Migrations.Sqlite
{
    /// <inheritdoc />
    public partial class Servers : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropIndex(
                name: "ix_runs_submitted_at",
                table: "runs");

            migrationBuilder.AddColumn<string>(
                name: "deadline_at",
                table: "runs",
                type: "TEXT",
                nullable: true);

            migrationBuilder.AddColumn<int>(
                name: "workflow_version",
                table: "runs",
                type: "INTEGER",
                nullable: false,
                defaultValue: 1);

            migrationBuilder.CreateTable(
                name: "faults",
                columns: table => new
                {
                    id = table.Column<long>(type: "INTEGER", nullable: false)
                        .Annotation("Sqlite:Autoincrement", true),
                    fingerprint = table.Column<string>(type: "TEXT", nullable: false),
                    queue = table.Column<string>(type: "TEXT", nullable: false),
                    message_id = table.Column<Guid>(type: "TEXT", nullable: true),
                    message_type = table.Column<string>(type: "TEXT", nullable: false),
                    content_type = table.Column<string>(type: "TEXT", nullable: false),
                    body = table.Column<string>(type: "TEXT", nullable: false),
                    reason = table.Column<string>(type: "TEXT", nullable: false),
                    stack_trace = table.Column<string>(type: "TEXT", nullable: true),
                    machine = table.Column<string>(type: "TEXT", nullable: false),
                    faulted_at = table.Column<string>(type: "TEXT", nullable: false),
                    status = table.Column<string>(type: "TEXT", nullable: false),
                    redeliveries = table.Column<int>(type: "INTEGER", nullable: false),
                    decided_at = table.Column<string>(type: "TEXT", nullable: true),
                    decided_by = table.Column<string>(type: "TEXT", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_faults", x => x.id);
                });

            migrationBuilder.CreateTable(
                name: "finished_shards",
                columns: table => new
                {
                    key = table.Column<string>(type: "TEXT", nullable: false),
                    shard = table.Column<int>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_finished_shards", x => new { x.key, x.shard });
                });

            migrationBuilder.CreateTable(
                name: "inbox_state",
                columns: table => new
                {
                    id = table.Column<long>(type: "INTEGER", nullable: false)
                        .Annotation("Sqlite:Autoincrement", true),
                    message_id = table.Column<Guid>(type: "TEXT", nullable: false),
                    consumer_id = table.Column<Guid>(type: "TEXT", nullable: false),
                    lock_id = table.Column<Guid>(type: "TEXT", nullable: false),
                    row_version = table.Column<byte[]>(type: "BLOB", nullable: true),
                    received = table.Column<DateTime>(type: "TEXT", nullable: false),
                    receive_count = table.Column<int>(type: "INTEGER", nullable: false),
                    expiration_time = table.Column<DateTime>(type: "TEXT", nullable: true),
                    consumed = table.Column<DateTime>(type: "TEXT", nullable: true),
                    delivered = table.Column<DateTime>(type: "TEXT", nullable: true),
                    last_sequence_number = table.Column<long>(type: "INTEGER", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_inbox_state", x => x.id);
                });

            migrationBuilder.CreateTable(
                name: "outbox_message",
                columns: table => new
                {
                    sequence_number = table.Column<long>(type: "INTEGER", nullable: false)
                        .Annotation("Sqlite:Autoincrement", true),
                    enqueue_time = table.Column<DateTime>(type: "TEXT", nullable: true),
                    sent_time = table.Column<DateTime>(type: "TEXT", nullable: false),
                    headers = table.Column<string>(type: "TEXT", nullable: true),
                    properties = table.Column<string>(type: "TEXT", nullable: true),
                    inbox_message_id = table.Column<Guid>(type: "TEXT", nullable: true),
                    inbox_consumer_id = table.Column<Guid>(type: "TEXT", nullable: true),
                    outbox_id = table.Column<Guid>(type: "TEXT", nullable: true),
                    message_id = table.Column<Guid>(type: "TEXT", nullable: false),
                    content_type = table.Column<string>(type: "TEXT", nullable: false),
                    message_type = table.Column<string>(type: "TEXT", nullable: false),
                    body = table.Column<string>(type: "TEXT", nullable: false),
                    conversation_id = table.Column<Guid>(type: "TEXT", nullable: true),
                    correlation_id = table.Column<Guid>(type: "TEXT", nullable: true),
                    initiator_id = table.Column<Guid>(type: "TEXT", nullable: true),
                    request_id = table.Column<Guid>(type: "TEXT", nullable: true),
                    source_address = table.Column<string>(type: "TEXT", nullable: true),
                    destination_address = table.Column<string>(type: "TEXT", nullable: true),
                    response_address = table.Column<string>(type: "TEXT", nullable: true),
                    fault_address = table.Column<string>(type: "TEXT", nullable: true),
                    expiration_time = table.Column<DateTime>(type: "TEXT", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_outbox_message", x => x.sequence_number);
                });

            migrationBuilder.CreateTable(
                name: "outbox_state",
                columns: table => new
                {
                    outbox_id = table.Column<Guid>(type: "TEXT", nullable: false),
                    lock_id = table.Column<Guid>(type: "TEXT", nullable: false),
                    row_version = table.Column<byte[]>(type: "BLOB", nullable: true),
                    created = table.Column<DateTime>(type: "TEXT", nullable: false),
                    delivered = table.Column<DateTime>(type: "TEXT", nullable: true),
                    last_sequence_number = table.Column<long>(type: "INTEGER", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_outbox_state", x => x.outbox_id);
                });

            migrationBuilder.CreateTable(
                name: "run_tags",
                columns: table => new
                {
                    run_id = table.Column<Guid>(type: "TEXT", nullable: false),
                    tag = table.Column<string>(type: "TEXT", nullable: false),
                    submitted_at = table.Column<string>(type: "TEXT", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_run_tags", x => new { x.run_id, x.tag });
                    table.ForeignKey(
                        name: "fk_run_tags_runs_run_id",
                        column: x => x.run_id,
                        principalTable: "runs",
                        principalColumn: "correlation_id",
                        onDelete: ReferentialAction.Cascade);
                });

            migrationBuilder.CreateTable(
                name: "sharded_steps",
                columns: table => new
                {
                    key = table.Column<string>(type: "TEXT", nullable: false),
                    shards = table.Column<int>(type: "INTEGER", nullable: false),
                    done = table.Column<int>(type: "INTEGER", nullable: false),
                    items = table.Column<int>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_sharded_steps", x => x.key);
                });

            migrationBuilder.CreateTable(
                name: "work_leases",
                columns: table => new
                {
                    run_id = table.Column<Guid>(type: "TEXT", nullable: false),
                    step = table.Column<string>(type: "TEXT", nullable: false),
                    slot = table.Column<int>(type: "INTEGER", nullable: false),
                    attempt = table.Column<int>(type: "INTEGER", nullable: false),
                    worker = table.Column<Guid>(type: "TEXT", nullable: false),
                    taken_at = table.Column<string>(type: "TEXT", nullable: false),
                    renewals = table.Column<long>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_work_leases", x => new { x.run_id, x.step, x.slot });
                });

            migrationBuilder.CreateTable(
                name: "workers",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "TEXT", nullable: false),
                    machine = table.Column<string>(type: "TEXT", nullable: false),
                    process_id = table.Column<int>(type: "INTEGER", nullable: false),
                    version = table.Column<string>(type: "TEXT", nullable: false),
                    steps = table.Column<string>(type: "TEXT", nullable: false),
                    device = table.Column<string>(type: "TEXT", nullable: false),
                    memory_bytes = table.Column<long>(type: "INTEGER", nullable: false),
                    current = table.Column<string>(type: "TEXT", nullable: false),
                    started_at = table.Column<string>(type: "TEXT", nullable: false),
                    seen_at = table.Column<string>(type: "TEXT", nullable: false),
                    beats = table.Column<long>(type: "INTEGER", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_workers", x => x.id);
                });

            migrationBuilder.CreateIndex(
                name: "ix_runs_current_state_submitted_at",
                table: "runs",
                columns: new[] { "current_state", "submitted_at" });

            migrationBuilder.CreateIndex(
                name: "ix_runs_deadline_at",
                table: "runs",
                column: "deadline_at",
                filter: "deadline_at is not null");

            migrationBuilder.CreateIndex(
                name: "ix_runs_name_current_state_submitted_at",
                table: "runs",
                columns: new[] { "name", "current_state", "submitted_at" });

            migrationBuilder.CreateIndex(
                name: "ix_runs_name_submitted_at",
                table: "runs",
                columns: new[] { "name", "submitted_at" });

            migrationBuilder.CreateIndex(
                name: "ix_runs_submitted_at_correlation_id",
                table: "runs",
                columns: new[] { "submitted_at", "correlation_id" });

            migrationBuilder.CreateIndex(
                name: "ix_faults_fingerprint",
                table: "faults",
                column: "fingerprint");

            migrationBuilder.CreateIndex(
                name: "ix_faults_message_id",
                table: "faults",
                column: "message_id");

            migrationBuilder.CreateIndex(
                name: "ix_inbox_state_consumed",
                table: "inbox_state",
                column: "consumed",
                filter: "delivered is null");

            migrationBuilder.CreateIndex(
                name: "ix_inbox_state_delivered",
                table: "inbox_state",
                column: "delivered");

            migrationBuilder.CreateIndex(
                name: "ix_inbox_state_message_id_consumer_id",
                table: "inbox_state",
                columns: new[] { "message_id", "consumer_id" },
                unique: true);

            migrationBuilder.CreateIndex(
                name: "ix_outbox_message_inbox_message_id_inbox_consumer_id",
                table: "outbox_message",
                columns: new[] { "inbox_message_id", "inbox_consumer_id" });

            migrationBuilder.CreateIndex(
                name: "ix_outbox_message_outbox_id",
                table: "outbox_message",
                column: "outbox_id");

            migrationBuilder.CreateIndex(
                name: "ix_outbox_state_created",
                table: "outbox_state",
                column: "created");

            migrationBuilder.CreateIndex(
                name: "ix_run_tags_tag_submitted_at",
                table: "run_tags",
                columns: new[] { "tag", "submitted_at" });

            migrationBuilder.CreateIndex(
                name: "ix_work_leases_worker",
                table: "work_leases",
                column: "worker");

            migrationBuilder.Sql("insert or ignore into run_tags (run_id, tag, submitted_at) select correlation_id, json_each.value, submitted_at from runs, json_each(runs.tags)"); // runs from before tags had rows
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "faults");

            migrationBuilder.DropTable(
                name: "finished_shards");

            migrationBuilder.DropTable(
                name: "inbox_state");

            migrationBuilder.DropTable(
                name: "outbox_message");

            migrationBuilder.DropTable(
                name: "outbox_state");

            migrationBuilder.DropTable(
                name: "run_tags");

            migrationBuilder.DropTable(
                name: "sharded_steps");

            migrationBuilder.DropTable(
                name: "work_leases");

            migrationBuilder.DropTable(
                name: "workers");

            migrationBuilder.DropIndex(
                name: "ix_runs_current_state_submitted_at",
                table: "runs");

            migrationBuilder.DropIndex(
                name: "ix_runs_deadline_at",
                table: "runs");

            migrationBuilder.DropIndex(
                name: "ix_runs_name_current_state_submitted_at",
                table: "runs");

            migrationBuilder.DropIndex(
                name: "ix_runs_name_submitted_at",
                table: "runs");

            migrationBuilder.DropIndex(
                name: "ix_runs_submitted_at_correlation_id",
                table: "runs");

            migrationBuilder.DropColumn(
                name: "deadline_at",
                table: "runs");

            migrationBuilder.DropColumn(
                name: "workflow_version",
                table: "runs");

            migrationBuilder.CreateIndex(
                name: "ix_runs_submitted_at",
                table: "runs",
                column: "submitted_at");
        }
    }
}
