"""How the connector proves who it is."""

from typing import Annotated, Literal

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]


class Strict(BaseModel):
    """A part of the configuration: nothing unknown, never changed."""

    # Inputs are hidden in errors: they may be secrets.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class NoAuth(Strict):
    """The API is open to whoever reaches it."""

    kind: Literal["none"] = Field(default="none", description="No log-in.")


class BearerAuth(Strict):
    """A token that stays valid until it is taken back."""

    kind: Literal["bearer"] = Field(description="A fixed token, sent as 'Authorization: Bearer'.")
    token: SecretStr = Field(min_length=1, description="The token.")


class BasicAuth(Strict):
    """User and password with every request."""

    kind: Literal["basic"] = Field(description="User and password, sent as 'Authorization: Basic'.")
    user: str = Field(min_length=1, max_length=200, pattern="^[^:]*$", description="User, without a colon.")
    password: SecretStr = Field(description="Password.")


class ApiKeyAuth(Strict):
    """A key under a name of the API's choice."""

    kind: Literal["api_key"] = Field(description="A key in a header or a query parameter of its own.")
    name: HeaderName = Field(default="X-API-Key", description="Name of the header or query parameter.")
    key: SecretStr = Field(min_length=1, description="The key.")
    placed_in: Literal["header", "query"] = Field(
        default="header", description="Where the key goes. Prefer header: URLs end up in the source's logs."
    )


class OAuth2(Strict):
    """Client credentials (RFC 6749, 4.4)."""

    kind: Literal["oauth2"] = Field(description="OAuth 2 client credentials: a token is fetched and used for its life.")
    token_url: AnyHttpUrl = Field(description="Address that gives tokens, for example https://id.example.com/token.")
    client_id: str = Field(min_length=1, max_length=500, description="Client (application) id.")
    client_secret: SecretStr = Field(min_length=1, description="Client secret.")
    scope: str | None = Field(default=None, max_length=1000, description="Scopes, separated by spaces.")
    audience: str | None = Field(default=None, max_length=1000, description="Audience, where the token service asks.")
    credentials_in: Literal["header", "body"] = Field(
        default="header", description="Whether id and secret are sent as a Basic header or in the form's body."
    )


Auth = Annotated[NoAuth | BearerAuth | BasicAuth | ApiKeyAuth | OAuth2, Field(discriminator="kind")]
