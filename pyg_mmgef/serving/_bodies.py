from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = ['Failure', 'ItemFields', 'ItemOut', 'ListOut', 'NewItem', 'RecommendIn', 'SearchOut']

MOST_ITEMS = 1000
MOST_LIKED = 1000
LONGEST_ID = 500

IdText = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID)]
ItemId = IdText | Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Numbers = Annotated[list[float], Field(max_length=20_000)]
Text = Annotated[str, StringConstraints(max_length=20_000)]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=1, le=MOST_ITEMS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra='forbid', allow_inf_nan=False)


class RecommendIn(_Body):
    """Who asks for items, and by which rules."""

    user: ItemId | None = Field(None, description='Id of a user.')
    liked: list[ItemId] = Field(
        [],
        max_length=MOST_LIKED,
        description='Items that the visitor likes, such as those in the basket.',
    )
    k: Count = Field(10, description='Number of items.')
    rules: dict[str, Any] = Field({}, description='Business rules, as Rules.to_dict gives them.')
    fallback: Literal['popular', 'error'] = Field(
        'popular', description='What an unknown user gets: popular items, or 404.'
    )


class ItemFields(_Body):
    """What is changed of an item. What is left out stays as it is."""

    title: Text | None = None
    text: Text | None = None
    picture: Text | None = Field(None, description='Address of a picture.')
    fields: dict[FieldName, float | Text | None] = Field(
        {}, max_length=200, description='Values such as a price; null is a missing one.'
    )
    vector: Numbers | None = Field(None, description='The vector of an added item.')
    features: dict[FieldName, Numbers] | None = Field(
        None, description='The features of an added item by modality, instead of a vector.'
    )


class NewItem(ItemFields):
    """An item that the export lacks."""

    item: ItemId


class ItemRef(BaseModel):
    """An item by which another is recommended."""

    item: int | str
    title: str


class ItemOut(BaseModel):
    """An item."""

    item: int | str
    title: str
    picture: str | None = Field(None, description='Address of a picture.')
    fields: dict[str, float | str] = {}
    score: float | None = None
    because: ItemRef | None = Field(None, description='The liked item that adds most to the score.')


class ListOut(BaseModel):
    """Items, the best first."""

    version: str = Field(description='Version of the export.')
    reason: Literal['history', 'liked', 'new user', 'similar']
    items: list[ItemOut]
    ignored: list[int | str] = Field([], description="Liked items that aren't known.")


class SearchOut(BaseModel):
    """Items whose title holds a text."""

    items: list[ItemOut]


class Failure(BaseModel):
    """What is wrong with a request."""

    detail: str
