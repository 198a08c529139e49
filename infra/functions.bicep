// The function app, on Flex Consumption or on an App Service plan.
param location string
param suffix string
param tags object

@allowed(['flex', 'premium'])
param plan string
param maximumInstanceCount int
param premiumInstances int

@description('Identity of the app: id, name and clientId.')
param api object
param hostStorageName string

@description('Container of the deployed packages.')
param packagesUrl string

@description('Subnet for outgoing connections; empty for none.')
param subnetId string
param applicationInsights string

@description('Settings of the product, by name.')
param settings object

var name = 'func-${suffix}'
var isFlex = plan == 'flex'
var pythonVersion = '3.13'

var hostSettings = {
  AzureWebJobsStorage__accountName: hostStorageName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: api.clientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsights
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${api.clientId};Authorization=AAD'
  PYTHON_THREADPOOL_THREAD_COUNT: '16'
}

// Flex Consumption rejects these.
var premiumSettings = {
  FUNCTIONS_EXTENSION_VERSION: '~4'
  FUNCTIONS_WORKER_RUNTIME: 'python'
  SCM_DO_BUILD_DURING_DEPLOYMENT: 'true'
  ENABLE_ORYX_BUILD: 'true'
}

var flexSku = {
  name: 'FC1'
  tier: 'FlexConsumption'
}
var premiumSku = {
  name: 'P1v3'
  tier: 'PremiumV3'
  capacity: premiumInstances
}

resource servers 'Microsoft.Web/serverfarms@2025-05-01' = {
  name: 'plan-${suffix}'
  location: location
  tags: tags
  kind: isFlex ? 'functionapp' : 'linux'
  sku: isFlex ? flexSku : premiumSku
  properties: { reserved: true }
}

resource flexApp 'Microsoft.Web/sites@2025-05-01' = if (isFlex) {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${api.id}': {} }
  }
  properties: {
    serverFarmId: servers.id
    httpsOnly: true
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packagesUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: api.id
          }
        }
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstanceCount
        instanceMemoryMB: 4096
        alwaysReady: [
          {
            name: 'http'
            instanceCount: 1
          }
          {
            name: 'function:process_job'
            instanceCount: 1
          }
        ]
        triggers: { http: { perInstanceConcurrency: 100 } }
      }
    }
    siteConfig: { minTlsVersion: '1.2' }
  }
}

resource flexSettings 'Microsoft.Web/sites/config@2025-05-01' = if (isFlex) {
  parent: flexApp
  name: 'appsettings'
  properties: union(hostSettings, settings)
}

resource premiumApp 'Microsoft.Web/sites@2025-05-01' = if (!isFlex) {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${api.id}': {} }
  }
  properties: {
    serverFarmId: servers.id
    httpsOnly: true
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      alwaysOn: true
      linuxFxVersion: 'PYTHON|${pythonVersion}'
      minTlsVersion: '1.2'
    }
  }
}

resource premiumAppSettings 'Microsoft.Web/sites/config@2025-05-01' = if (!isFlex) {
  parent: premiumApp
  name: 'appsettings'
  properties: union(hostSettings, premiumSettings, settings)
}

output name string = name
output url string = 'https://${isFlex ? flexApp!.properties.defaultHostName : premiumApp!.properties.defaultHostName}'
