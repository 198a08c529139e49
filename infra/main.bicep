// Everything that `azd up` creates: one resource group.
targetScope = 'subscription'

@description('Name of the azd environment; part of every name.')
@minLength(1)
@maxLength(32)
param environmentName string

@description('Region of every resource.')
param location string

@description('Object id of whoever deploys: becomes the administrator of the database.')
param principalId string

@description('Sign-in name of the same principal.')
param principalName string

@description('User for a person, ServicePrincipal for a pipeline.')
@allowed(['User', 'ServicePrincipal', 'Group'])
param principalType string = 'User'

@description('Public IPv4 address from which the hook migrates the database; empty for none.')
param deployerAddress string = ''

@description('flex: Flex Consumption. premium: App Service Premium v3, for rasters that need more disk or memory.')
@allowed(['flex', 'premium'])
param plan string = 'flex'

@description('Largest number of instances of the function app on Flex Consumption.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Number of instances of the function app on the plan premium.')
@minValue(1)
param premiumInstances int = 1

@description('Standard, or Premium for more throughput. With private networking it is Premium.')
@allowed(['Standard', 'Premium'])
param serviceBusSku string = 'Standard'

@description('Size of the database server; see database.bicep for the connections each one allows.')
@allowed(['Standard_B1ms', 'Standard_B2s', 'Standard_D2ds_v5', 'Standard_D4ds_v5'])
param databaseSku string = 'Standard_B2s'

@description('Version of PostgreSQL.')
@allowed(['16', '17'])
param databaseVersion string = '17'

@description('Name of the database server after a restore; empty for the default.')
param databaseServer string = ''

@description('Reach database, storage and Service Bus through private endpoints only.')
param privateNetworking bool = false

@description('Where alerts and budget warnings go; empty for no alerts and no budget.')
param alertEmail string = ''

@description('Monthly budget of the resource group, in the currency of the subscription.')
@minValue(1)
param monthlyBudget int = 100

@description('First day of the budget, which must be the first of a month.')
param budgetStart string = utcNow('yyyy-MM-01')

@description('More settings of the function app, by name: docs/reference/settings.md.')
param appSettings object = {}

@description('Image of the tile server. azd sets it after the first deployment.')
param tilesImage string = ''

@description('Image of the STAC API. azd sets it after the first deployment.')
param stacImage string = ''

var suffix = uniqueString(subscription().id, environmentName, location)
var tags = { 'azd-env-name': environmentName }

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identities 'identities.bicep' = {
  name: 'identities'
  scope: group
  params: {
    location: location
    suffix: suffix
    tags: tags
  }
}

module network 'network.bicep' = if (privateNetworking) {
  name: 'network'
  scope: group
  params: {
    location: location
    suffix: suffix
    tags: tags
    plan: plan
  }
}

module monitoring 'monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    suffix: suffix
    tags: tags
    publishers: [identities.outputs.api.principalId]
  }
}

module storage 'storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    location: location
    suffix: suffix
    tags: tags
    api: identities.outputs.api
    tiles: identities.outputs.tiles
    privateNetworking: privateNetworking
    uploadOrigin: 'https://func-${suffix}.azurewebsites.net'
  }
}

module messaging 'messaging.bicep' = {
  name: 'messaging'
  scope: group
  params: {
    location: location
    suffix: suffix
    tags: tags
    api: identities.outputs.api
    sku: privateNetworking ? 'Premium' : serviceBusSku
    privateNetworking: privateNetworking
  }
}

module database 'database.bicep' = {
  name: 'database'
  scope: group
  params: {
    location: location
    serverName: empty(databaseServer) ? 'psql-${suffix}' : databaseServer
    tags: tags
    sku: databaseSku
    version: databaseVersion
    administrator: {
      id: principalId
      name: principalName
      type: principalType
    }
    deployerAddress: deployerAddress
    privateNetworking: privateNetworking
  }
}

module endpoints 'endpoints.bicep' = if (privateNetworking) {
  name: 'endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointsSubnetId
    dataStorageId: storage.outputs.dataId
    hostStorageId: storage.outputs.hostId
    serviceBusId: messaging.outputs.id
    databaseId: database.outputs.id
  }
}

module containers 'containers.bicep' = {
  name: 'containers'
  scope: group
  params: {
    location: location
    suffix: suffix
    tags: tags
    tiles: identities.outputs.tiles
    stac: identities.outputs.stac
    tilesImage: tilesImage
    stacImage: stacImage
    databaseHost: database.outputs.host
    databaseName: database.outputs.name
    storageUrl: storage.outputs.dataUrl
    silverContainer: storage.outputs.silverContainer
    subnetId: privateNetworking ? network!.outputs.containersSubnetId : ''
    workspaceName: monitoring.outputs.workspaceName
  }
}

module functions 'functions.bicep' = {
  name: 'functions'
  scope: group
  params: {
    location: location
    suffix: suffix
    tags: tags
    plan: plan
    maximumInstanceCount: maximumInstanceCount
    premiumInstances: premiumInstances
    api: identities.outputs.api
    hostStorageName: storage.outputs.hostName
    packagesUrl: storage.outputs.packagesUrl
    subnetId: privateNetworking ? network!.outputs.functionsSubnetId : ''
    applicationInsights: monitoring.outputs.connectionString
    settings: union(
      {
        DATABASE_URL: 'postgresql://${identities.outputs.api.name}@${database.outputs.host}:5432/${database.outputs.name}'
        SERVICEBUS_CONNECTION__fullyQualifiedNamespace: messaging.outputs.host
        SERVICEBUS_CONNECTION__credential: 'managedidentity'
        SERVICEBUS_CONNECTION__clientId: identities.outputs.api.clientId
        AZURE_CLIENT_ID: identities.outputs.api.clientId
        JOBS_QUEUE: messaging.outputs.jobsQueue
        TASKS_QUEUE: messaging.outputs.tasksQueue
        QUICK_TASKS_QUEUE: messaging.outputs.quickTasksQueue
        STORAGE_CONNECTION: storage.outputs.dataUrl
        BRONZE_CONTAINER: storage.outputs.bronzeContainer
        SILVER_CONTAINER: storage.outputs.silverContainer
        TITILER_URL: containers.outputs.tilesUrl
        STAC_URL: containers.outputs.stacUrl
        SWEEP_SCHEDULE: '0 * * * * *'
      },
      appSettings
    )
  }
}

module alerts 'alerts.bicep' = if (!empty(alertEmail)) {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    email: alertEmail
    monthlyBudget: monthlyBudget
    budgetStart: budgetStart
    serviceBusId: messaging.outputs.id
    databaseId: database.outputs.id
    databaseConnections: database.outputs.maxConnections
    workspaceId: monitoring.outputs.workspaceId
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = containers.outputs.registryHost
output API_URL string = '${functions.outputs.url}/api'
output FUNCTION_APP_NAME string = functions.outputs.name
output TITILER_URL string = containers.outputs.tilesUrl
output STAC_URL string = containers.outputs.stacUrl
output STORAGE_URL string = storage.outputs.dataUrl
output BRONZE_CONTAINER string = storage.outputs.bronzeContainer
output DATABASE_HOST string = database.outputs.host
output DATABASE_NAME string = database.outputs.name
output DATABASE_ADMINISTRATOR string = principalName
output API_ROLE string = identities.outputs.api.name
output TILES_ROLE string = identities.outputs.tiles.name
output STAC_ROLE string = identities.outputs.stac.name
