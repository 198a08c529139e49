// Two accounts: one for the Functions host, one for rasters and COGs. Neither accepts account keys.
param location string
param suffix string
param tags object
param api object
param tiles object
param privateNetworking bool

@description('Origin from which the dashboard uploads.')
param uploadOrigin string

var roles = loadJsonContent('roles.json')
var access = privateNetworking ? 'Disabled' : 'Enabled'
var deletedDays = 7

resource host 'Microsoft.Storage/storageAccounts@2026-09-01' = {
  name: 'sthost${suffix}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: access
    supportsHttpsTrafficOnly: true
  }
}

resource hostBlobs 'Microsoft.Storage/storageAccounts/blobServices@2026-09-01' = {
  parent: host
  name: 'default'
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' = {
  parent: hostBlobs
  name: 'packages'
}

resource data 'Microsoft.Storage/storageAccounts@2026-09-01' = {
  name: 'stdata${suffix}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: access
    supportsHttpsTrafficOnly: true
  }
}

resource dataBlobs 'Microsoft.Storage/storageAccounts/blobServices@2026-09-01' = {
  parent: data
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: deletedDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: deletedDays
    }
    cors: {
      corsRules: [
        {
          allowedOrigins: [uploadOrigin]
          allowedMethods: ['PUT']
          allowedHeaders: ['*']
          exposedHeaders: []
          maxAgeInSeconds: 3600
        }
      ]
    }
  }
}

resource bronze 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' = {
  parent: dataBlobs
  name: 'bronze-rasters'
}

resource silver 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' = {
  parent: dataBlobs
  name: 'silver-cogs'
}

// What tasks leave for a later one: windows until their COG is assembled, and pieces of the overview
// of a collection until it is published.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2026-09-01' = {
  parent: data
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'intermediate-files'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['silver-cogs/.windows/', 'silver-cogs/.mosaic/']
            }
            actions: {
              baseBlob: {
                delete: { daysAfterModificationGreaterThan: 7 }
              }
            }
          }
        }
      ]
    }
  }
}

// The host keeps its locks, keys and timers here, and reads the deployed package.
resource hostOwner 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: host
  name: guid(host.id, api.id, roles['Storage Blob Data Owner'])
  properties: {
    principalId: api.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Owner'])
  }
}

resource bronzeContributor 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: bronze
  name: guid(bronze.id, api.id, roles['Storage Blob Data Contributor'])
  properties: {
    principalId: api.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

resource silverContributor 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: silver
  name: guid(silver.id, api.id, roles['Storage Blob Data Contributor'])
  properties: {
    principalId: api.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

// Signed URLs need a user-delegation key, which belongs to the account and not to a container.
resource delegator 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: data
  name: guid(data.id, api.id, roles['Storage Blob Delegator'])
  properties: {
    principalId: api.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Delegator'])
  }
}

resource silverReader 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: silver
  name: guid(silver.id, tiles.id, roles['Storage Blob Data Reader'])
  properties: {
    principalId: tiles.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Reader'])
  }
}

output dataId string = data.id
output dataUrl string = 'https://${data.name}.blob.${environment().suffixes.storage}'
output bronzeContainer string = bronze.name
output silverContainer string = silver.name
output hostId string = host.id
output hostName string = host.name
output packagesUrl string = 'https://${host.name}.blob.${environment().suffixes.storage}/${packages.name}'
