using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace ArmoFlow.Persistence.Migrations.Postgres
{
    /// <inheritdoc />
    public partial class Policies : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "replaced_by",
                table: "tombstones",
                type: "text",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "gates",
                table: "model_versions",
                type: "text",
                nullable: true);

            migrationBuilder.AddColumn<DateTimeOffset>(
                name: "lifted_at",
                table: "exclusions",
                type: "timestamp with time zone",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "lifted_by",
                table: "exclusions",
                type: "text",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "lifted_reason",
                table: "exclusions",
                type: "text",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "origin",
                table: "exclusions",
                type: "text",
                nullable: true);

            migrationBuilder.AddColumn<string>(
                name: "users",
                table: "exclusions",
                type: "text",
                nullable: true);

            migrationBuilder.CreateTable(
                name: "model_policies",
                columns: table => new
                {
                    model = table.Column<string>(type: "text", nullable: false),
                    version = table.Column<int>(type: "integer", nullable: false),
                    policy = table.Column<string>(type: "text", nullable: true),
                    set_by = table.Column<string>(type: "text", nullable: false),
                    at = table.Column<DateTimeOffset>(type: "timestamp with time zone", nullable: false),
                    reason = table.Column<string>(type: "text", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_model_policies", x => new { x.model, x.version });
                });
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "model_policies");

            migrationBuilder.DropColumn(
                name: "replaced_by",
                table: "tombstones");

            migrationBuilder.DropColumn(
                name: "gates",
                table: "model_versions");

            migrationBuilder.DropColumn(
                name: "lifted_at",
                table: "exclusions");

            migrationBuilder.DropColumn(
                name: "lifted_by",
                table: "exclusions");

            migrationBuilder.DropColumn(
                name: "lifted_reason",
                table: "exclusions");

            migrationBuilder.DropColumn(
                name: "origin",
                table: "exclusions");

            migrationBuilder.DropColumn(
                name: "users",
                table: "exclusions");
        }
    }
}
