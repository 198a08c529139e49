// Service Bus: one queue each for jobs, tasks and quick tasks. It accepts Entra identities only.
param location string
param suffix string
param tags object
param api object
param privateNetworking bool

@allowed(['Standard', 'Premium'])
param sku string

var roles = loadJsonContent('roles.json')
var queueNames = ['geospatial-jobs', 'geospatial-tasks', 'geospatial-quick-tasks']

resource namespace 'Microsoft.ServiceBus/namespaces@2026-01-01' = {
  name: 'sb-${suffix}'
  location: location
  tags: tags
  sku: {
    name: sku
    tier: sku
    capacity: sku == 'Premium' ? 1 : null
  }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    publicNetworkAccess: privateNetworking ? 'Disabled' : 'Enabled'
  }
}

// A message is sent again on purpose (by retries and by the sweep), so no duplicate detection.
resource queues 'Microsoft.ServiceBus/namespaces/queues@2026-01-01' = [
  for name in queueNames: {
    parent: namespace
    name: name
    properties: {
      lockDuration: 'PT1M'
      maxDeliveryCount: 10
      defaultMessageTimeToLive: 'P14D'
      deadLetteringOnMessageExpiration: true
      requiresDuplicateDetection: false
    }
  }
]

// Sending and receiving alone are not enough: to scale, the platform reads the length of the
// queues, which takes the right to manage them.
resource owner 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: namespace
  name: guid(namespace.id, api.id, roles['Azure Service Bus Data Owner'])
  properties: {
    principalId: api.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Azure Service Bus Data Owner'])
  }
}

output id string = namespace.id
output host string = '${namespace.name}.servicebus.windows.net'
output jobsQueue string = queues[0].name
output tasksQueue string = queues[1].name
output quickTasksQueue string = queues[2].name
