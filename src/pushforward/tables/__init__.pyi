from pushforward.tables.column import Column as Column
from pushforward.tables.columns import Category as Category, Number as Number
