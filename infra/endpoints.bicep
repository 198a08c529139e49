// Private endpoints of database, storage and Service Bus, and the names that lead to them.
param location string
param tags object
param networkId string
param subnetId string
param dataStorageId string
param hostStorageId string
param serviceBusId string
param databaseId string

var blobZone = 'privatelink.blob.${environment().suffixes.storage}'
var targets = [
  {
    name: 'data'
    id: dataStorageId
    group: 'blob'
    zone: 0
  }
  {
    name: 'host'
    id: hostStorageId
    group: 'blob'
    zone: 0
  }
  {
    name: 'bus'
    id: serviceBusId
    group: 'namespace'
    zone: 1
  }
  {
    name: 'database'
    id: databaseId
    group: 'postgresqlServer'
    zone: 2
  }
]

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for name in [blobZone, 'privatelink.servicebus.windows.net', 'privatelink.postgres.database.azure.com']: {
    name: name
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for index in range(0, 3): {
    parent: zones[index]
    name: 'network'
    location: 'global'
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: networkId }
    }
  }
]

resource endpoints 'Microsoft.Network/privateEndpoints@2026-03-01' = [
  for target in targets: {
    name: 'pe-${target.name}'
    location: location
    tags: tags
    properties: {
      subnet: { id: subnetId }
      privateLinkServiceConnections: [
        {
          name: target.name
          properties: {
            privateLinkServiceId: target.id
            groupIds: [target.group]
          }
        }
      ]
    }
  }
]

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2026-03-01' = [
  for index in range(0, 4): {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: 'zone'
          properties: { privateDnsZoneId: zones[targets[index].zone].id }
        }
      ]
    }
  }
]
