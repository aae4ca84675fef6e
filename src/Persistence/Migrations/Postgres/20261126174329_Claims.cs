using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace ArmoFlow.Persistence.Migrations.Postgres
{
    /// <inheritdoc />
    public partial class Claims : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "idle_steps",
                table: "workers",
                type: "text",
                nullable: false,
                defaultValue: "");

            migrationBuilder.AddColumn<bool>(
                name: "is_stale",
                table: "step_results",
                type: "boolean",
                nullable: false,
                defaultValue: false);

            migrationBuilder.AddColumn<string>(
                name: "plan",
                table: "sharded_steps",
                type: "text",
                nullable: false,
                defaultValue: "");

            migrationBuilder.CreateTable(
                name: "step_claims",
                columns: table => new
                {
                    key = table.Column<string>(type: "text", nullable: false),
                    run_id = table.Column<Guid>(type: "uuid", nullable: false),
                    attempt = table.Column<int>(type: "integer", nullable: false),
                    holds = table.Column<bool>(type: "boolean", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_step_claims", x => new { x.key, x.run_id });
                });

            migrationBuilder.CreateIndex(
                name: "ix_step_claims_holder",
                table: "step_claims",
                column: "key",
                unique: true,
                filter: "holds");

            migrationBuilder.CreateIndex(
                name: "ix_step_claims_run_id",
                table: "step_claims",
                column: "run_id");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "step_claims");

            migrationBuilder.DropColumn(
                name: "idle_steps",
                table: "workers");

            migrationBuilder.DropColumn(
                name: "is_stale",
                table: "step_results");

            migrationBuilder.DropColumn(
                name: "plan",
                table: "sharded_steps");
        }
    }
}
