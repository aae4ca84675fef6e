using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace ArmoFlow.Persistence.Migrations.Postgres
{
    /// <inheritdoc />
    public partial class Rows : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<string>(
                name: "rows",
                table: "audit_events",
                type: "text",
                nullable: true);

            migrationBuilder.CreateTable(
                name: "audit_rows",
                columns: table => new
                {
                    row = table.Column<long>(type: "bigint", nullable: false),
                    sequence = table.Column<long>(type: "bigint", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_audit_rows", x => new { x.row, x.sequence });
                });
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "audit_rows");

            migrationBuilder.DropColumn(
                name: "rows",
                table: "audit_events");
        }
    }
}
