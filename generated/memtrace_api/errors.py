"""What the low-level client raises."""


class UnexpectedStatus(Exception):
    """A response with an error status, with a status that the contract does not have, or that cannot be read.

    Attributes:
        status_code: The HTTP status.
        content: The body; `models.Error` describes that of an error.
    """

    def __init__(self, status_code: int, content: bytes) -> None:
        super().__init__(status_code, content)
        self.status_code = status_code
        self.content = content

    def __str__(self) -> str:
        content = self.content.decode(errors="replace")
        return f"Unexpected status code: {self.status_code}\n\nResponse content:\n{content}"


__all__ = ["UnexpectedStatus"]
