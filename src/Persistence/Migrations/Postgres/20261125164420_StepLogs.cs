using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace ArmoFlow.Persistence.Migrations.Postgres
{
    /// <inheritdoc />
    public partial class StepLogs : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "state",
                table: "run_tags",
                type: "text",
                nullable: false,
                defaultValue: "Initial");

            migrationBuilder.CreateTable(
                name: "step_logs",
                columns: table => new
                {
                    id = table.Column<Guid>(type: "uuid", nullable: false),
                    run_id = table.Column<Guid>(type: "uuid", nullable: false),
                    step = table.Column<string>(type: "text", nullable: false),
                    slot = table.Column<int>(type: "integer", nullable: false),
                    attempt = table.Column<int>(type: "integer", nullable: false),
                    worker = table.Column<Guid>(type: "uuid", nullable: false),
                    started_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    ended_at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: true),
                    outcome = table.Column<string>(type: "text", nullable: false),
                    text = table.Column<string>(type: "text", nullable: true),
                    sha256 = table.Column<string>(type: "text", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_step_logs", x => x.id);
                });

            migrationBuilder.CreateIndex(
                name: "ix_run_tags_tag_state_submitted_at",
                table: "run_tags",
                columns: new[] { "tag", "state", "submitted_at" });

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
            migrationBuilder.Sql("""
                create function keep_run_tags_state() returns trigger language plpgsql as
                $$ begin update run_tags set state = new.current_state where run_id = new.correlation_id; return null; end $$
                """);
            migrationBuilder.Sql("create trigger run_tags_state after update of current_state on runs for each row when (old.current_state is distinct from new.current_state) execute function keep_run_tags_state()");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.Sql("drop trigger run_tags_state on runs; drop function keep_run_tags_state()");

            migrationBuilder.DropTable(
                name: "step_logs");

            migrationBuilder.DropIndex(
                name: "ix_run_tags_tag_state_submitted_at",
                table: "run_tags");

            migrationBuilder.DropColumn(
                name: "state",
                table: "run_tags");
        }
    }
}
