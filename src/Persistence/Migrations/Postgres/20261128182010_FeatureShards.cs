using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace ArmoFlow.Persistence.Migrations.Postgres
{
    /// <inheritdoc />
    public partial class FeatureShards : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.CreateTable(
                name: "feature_shards",
                columns: table => new
                {
                    space = table.Column<string>(type: "text", nullable: false),
                    sha256 = table.Column<string>(type: "text", nullable: false),
                    keys_digest = table.Column<string>(type: "text", nullable: false),
                    responses = table.Column<byte[]>(type: "bytea", nullable: false),
                    prompts = table.Column<byte[]>(type: "bytea", nullable: false)
                },
                constraints: table =>
                {
                    table.PrimaryKey("pk_feature_shards", x => new { x.space, x.sha256, x.keys_digest });
                });
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropTable(
                name: "feature_shards");
        }
    }
}
