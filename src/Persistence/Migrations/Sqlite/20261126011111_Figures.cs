using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace ArmoFlow.Persistence.Migrations.Sqlite
{
    /// <inheritdoc />
    public partial class Figures : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropForeignKey(
                name: "fk_alerts_model_evaluations_run_id",
                table: "alerts");

            migrationBuilder.AddColumn<double>(
                name: "held_out_accuracy",
                table: "runs",
                type: "REAL",
                nullable: true);

            migrationBuilder.AddColumn<double>(
                name: "score",
                table: "runs",
                type: "REAL",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "awaits_alias",
                table: "model_versions",
                type: "TEXT",
                nullable: true);

            migrationBuilder.AddColumn<bool>(
                name: "is_by_hand",
                table: "firings",
                type: "INTEGER",
                nullable: false,
                defaultValue: false);

            migrationBuilder.AddColumn<int>(
                name: "withdrawn_in",
                table: "dataset_files",
                type: "INTEGER",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "kind",
                table: "alerts",
                type: "TEXT",
                nullable: false,
                defaultValue: "evaluation-below-gate");

            migrationBuilder.CreateTable(
                name: "retention_policies",
                columns: table => new
                {
                    id = table.Column<int>(type: "INTEGER", nullable: false),
                    older_than_days = table.Column<double>(type: "REAL", nullable: false),
                    keep_last = table.Column<int>(type: "INTEGER", nullable: false),
                    cron = table.Column<string>(type: "TEXT", nullable: false),
                    time_zone = table.Column<string>(type: "TEXT", nullable: false),
                    set_by = table.Column<string>(type: "TEXT", nullable: false),
                    active_since = table.Column<string>(type: "TEXT", nullable: false),
                    last_at = table.Column<string>(type: "TEXT", nullable: true),
                    last_outcome = table.Column<string>(type: "TEXT", nullable: true)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_retention_policies", x => x.id);
                });

            migrationBuilder.CreateIndex(
                name: "ix_model_versions_awaits_alias",
                table: "model_versions",
                column: "awaits_alias",
                filter: "awaits_alias is not null");

            migrationBuilder.AddForeignKey(
                name: "fk_alerts_runs_run_id",
                table: "alerts",
                column: "run_id",
                principalTable: "runs",
                principalColumn: "correlation_id",
                onDelete: ReferentialAction.Cascade);

            // What was measured before stands in the metrics.
            migrationBuilder.Sql("""
                update runs set score = json_extract(metrics, '$.evaluation.scorers.gate.benchmark.score'),
                    held_out_accuracy = json_extract(metrics, '$.evaluation.scorers.gate.heldOutAccuracy')
                where metrics like '%"evaluation"%'
                """);
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropForeignKey(
                name: "fk_alerts_runs_run_id",
                table: "alerts");

            migrationBuilder.DropTable(
                name: "retention_policies");

            migrationBuilder.DropIndex(
                name: "ix_model_versions_awaits_alias",
                table: "model_versions");

            migrationBuilder.DropColumn(
                name: "held_out_accuracy",
                table: "runs");

            migrationBuilder.DropColumn(
                name: "score",
                table: "runs");

            migrationBuilder.DropColumn(
                name: "awaits_alias",
                table: "model_versions");

            migrationBuilder.DropColumn(
                name: "is_by_hand",
                table: "firings");

            migrationBuilder.DropColumn(
                name: "withdrawn_in",
                table: "dataset_files");

            migrationBuilder.DropColumn(
                name: "kind",
                table: "alerts");

            migrationBuilder.AddForeignKey(
                name: "fk_alerts_model_evaluations_run_id",
                table: "alerts",
                column: "run_id",
                principalTable: "model_evaluations",
                principalColumn: "run_id",
                onDelete: ReferentialAction.Cascade);
        }
    }
}
