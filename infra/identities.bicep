// One identity for each deployed part, so that each gets only its own rights.
param location string
param suffix string
param tags object

resource api 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-api-${suffix}'
  location: location
  tags: tags
}

resource tiles 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-tiles-${suffix}'
  location: location
  tags: tags
}

resource stac 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-stac-${suffix}'
  location: location
  tags: tags
}

output api object = {
  id: api.id
  name: api.name
  clientId: api.properties.clientId
  principalId: api.properties.principalId
}
output tiles object = {
  id: tiles.id
  name: tiles.name
  clientId: tiles.properties.clientId
  principalId: tiles.properties.principalId
}
output stac object = {
  id: stac.id
  name: stac.name
  clientId: stac.properties.clientId
  principalId: stac.properties.principalId
}
