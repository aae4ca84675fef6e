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
            migrationBuilder.DropColumn(
                name: "held_out_accuracy",
                table: "runs");

            migrationBuilder.DropColumn(
                name: "score",
                table: "runs");

            migrationBuilder.DropColumn(
                name: "is_by_hand",
                table: "firings");

            migrationBuilder.DropColumn(
                name: "withdrawn_in",
                table: "dataset_files");
        }
    }
}
