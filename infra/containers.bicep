// The tile server and the STAC API on Container Apps, with the registry of their images.
param location string
param suffix string
param tags object
param tiles object
param stac object

@description('Image of the tile server; empty before its first deployment.')
param tilesImage string

@description('Image of the STAC API; empty before its first deployment.')
param stacImage string
param databaseHost string
param databaseName string
param storageUrl string
param silverContainer string

@description('Subnet of the environment; empty for none.')
param subnetId string
param workspaceName string

var roles = loadJsonContent('roles.json')
var placeholder = 'mcr.microsoft.com/azuredocs/containerapps-helloworld:latest'
var port = 8000

// The placeholder does not pass them.
var tilesProbes = [
  {
    type: 'Readiness'
    httpGet: {
      path: '/healthz'
      port: port
    }
    periodSeconds: 10
  }
]
var stacProbes = [
  {
    type: 'Readiness'
    httpGet: {
      path: '/_mgmt/ping'
      port: port
    }
    periodSeconds: 10
  }
]

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: 'cr${suffix}'
  location: location
  tags: tags
  sku: { name: 'Basic' }
  properties: { adminUserEnabled: false }
}

resource pulls 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for identity in [tiles, stac]: {
    scope: registry
    name: guid(registry.id, identity.id, roles.AcrPull)
    properties: {
      principalId: identity.principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.AcrPull)
    }
  }
]

resource managedEnvironment 'Microsoft.App/managedEnvironments@2026-07-01' = {
  name: 'cae-${suffix}'
  location: location
  tags: tags
  properties: {
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: workspace.properties.customerId
        sharedKey: workspace.listKeys().primarySharedKey
      }
    }
    vnetConfiguration: empty(subnetId) ? null : { infrastructureSubnetId: subnetId }
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
  }
}

resource tileServer 'Microsoft.App/containerApps@2026-07-01' = {
  name: 'ca-tiles-${suffix}'
  location: location
  tags: union(tags, { 'azd-service-name': 'tiles' })
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${tiles.id}': {} }
  }
  dependsOn: [pulls]
  properties: {
    managedEnvironmentId: managedEnvironment.id
    workloadProfileName: 'Consumption'
    configuration: {
      ingress: {
        external: true
        targetPort: port
        transport: 'auto'
      }
      registries: [
        {
          server: registry.properties.loginServer
          identity: tiles.id
        }
      ]
    }
    template: {
      containers: [
        {
          name: 'tiles'
          image: empty(tilesImage) ? placeholder : tilesImage
          resources: {
            cpu: json('1.0')
            memory: '2Gi'
          }
          env: [
            {
              name: 'AZURE_CLIENT_ID'
              value: tiles.clientId
            }
            {
              name: 'DATABASE_URL'
              value: 'postgresql://${tiles.name}@${databaseHost}:5432/${databaseName}'
            }
            {
              name: 'STORAGE_CONNECTION'
              value: storageUrl
            }
            {
              name: 'TILE_CONTAINERS'
              value: silverContainer
            }
            {
              name: 'STAC_URL'
              value: 'https://${stacApi.properties.configuration.ingress.fqdn}'
            }
          ]
          probes: empty(tilesImage) ? [] : tilesProbes
        }
      ]
      scale: {
        minReplicas: 0
        maxReplicas: 5
        rules: [
          {
            name: 'http'
            http: { metadata: { concurrentRequests: '20' } }
          }
        ]
      }
    }
  }
}

resource stacApi 'Microsoft.App/containerApps@2026-07-01' = {
  name: 'ca-stac-${suffix}'
  location: location
  tags: union(tags, { 'azd-service-name': 'stac' })
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${stac.id}': {} }
  }
  dependsOn: [pulls]
  properties: {
    managedEnvironmentId: managedEnvironment.id
    workloadProfileName: 'Consumption'
    configuration: {
      ingress: {
        external: true
        targetPort: port
        transport: 'auto'
      }
      registries: [
        {
          server: registry.properties.loginServer
          identity: stac.id
        }
      ]
    }
    template: {
      containers: [
        {
          name: 'stac'
          image: empty(stacImage) ? placeholder : stacImage
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          env: [
            {
              name: 'AZURE_CLIENT_ID'
              value: stac.clientId
            }
            {
              name: 'DATABASE_URL'
              value: 'postgresql://${stac.name}@${databaseHost}:5432/${databaseName}'
            }
          ]
          probes: empty(stacImage) ? [] : stacProbes
        }
      ]
      scale: {
        minReplicas: 0
        maxReplicas: 3
        rules: [
          {
            name: 'http'
            http: { metadata: { concurrentRequests: '50' } }
          }
        ]
      }
    }
  }
}

output registryHost string = registry.properties.loginServer
output tilesUrl string = 'https://${tileServer.properties.configuration.ingress.fqdn}'
output stacUrl string = 'https://${stacApi.properties.configuration.ingress.fqdn}'
