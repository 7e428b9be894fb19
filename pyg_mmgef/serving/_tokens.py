import hmac
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

__all__ = ['check_token']

Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description='The token of the server.')),
]


async def check_token(request: Request, credentials: Credentials) -> None:
    """Raise an error with status 401 or 403 unless a request has the token of the server.

    Args:
        request: The request. The state of its application has the token, :obj:`None` if the
            server changes no items.
        credentials: What its header ``Authorization`` holds.
    """
    token = request.app.state.token
    if token is None:
        raise HTTPException(
            403,
            'this server changes no items; start it with --token-file or the environment variable '
            'PYG_MMGEF_TOKEN',
        )
    given = '' if credentials is None else credentials.credentials
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise HTTPException(
            401,
            'send the header "Authorization: Bearer" with the token of the server',
            {'WWW-Authenticate': 'Bearer'},
        )
