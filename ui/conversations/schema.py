"""The tables of `conversations.db`, and their version."""

import sqlalchemy as sa

VERSION = 1

TABLES = sa.MetaData()
CONVERSATIONS = sa.Table(
    "conversations",
    TABLES,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("changed", sa.Float, nullable=False),  # seconds since 1970
    sa.Column("leaf", sa.String),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Index("of_owner", "owner", "changed"),
)
MESSAGES = sa.Table(
    "messages",
    TABLES,
    sa.Column("place", sa.Integer, primary_key=True),  # in the order of writing
    sa.Column("id", sa.String, nullable=False, unique=True),
    sa.Column("conversation", sa.ForeignKey(CONVERSATIONS.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("parent", sa.String),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("content", sa.String, nullable=False),
    sa.Column("documents", sa.JSON, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("rating", sa.Integer),
    sa.Column("comment", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
