"""The storage account, for GDAL and for the Azure SDK."""

from __future__ import annotations

from azure.storage.blob import BlobServiceClient

from tiles.identity import STORAGE, credential, token


class Account:
    """One account: from a connection string, or from its https URL and the managed identity."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._has_identity = connection.startswith("https://")
        if self._has_identity:
            self.client = BlobServiceClient(connection, credential())
        else:
            self.client = BlobServiceClient.from_connection_string(connection)
        self.url = self.client.url.rstrip("/")

    def gdal_options(self) -> dict[str, str]:
        """GDAL's options to open `/vsiaz/` paths during one request.

        GDAL itself gets tokens from the metadata service of virtual machines only, which Container
        Apps does not have: docs/decisions/0055. A token outlives the request it is made for.
        https://gdal.org/en/stable/user/virtual_file_systems.html#vsiaz-microsoft-azure-blob-files
        """
        if not self._has_identity:
            return {"AZURE_STORAGE_CONNECTION_STRING": self._connection}
        return {
            "AZURE_STORAGE_ACCOUNT": str(self.client.account_name),
            "CPL_AZURE_ENDPOINT": self.url,
            "AZURE_STORAGE_ACCESS_TOKEN": token(STORAGE),
        }
