// The virtual network of a deployment with private networking.
param location string
param suffix string
param tags object

@allowed(['flex', 'premium'])
param plan string

resource network 'Microsoft.Network/virtualNetworks@2026-03-01' = {
  name: 'vnet-${suffix}'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.20.0.0/16'] }
    subnets: [
      {
        name: 'endpoints'
        properties: { addressPrefix: '10.20.0.0/24' }
      }
      {
        name: 'containers'
        properties: {
          addressPrefix: '10.20.2.0/23'
          delegations: [
            {
              name: 'containers'
              properties: { serviceName: 'Microsoft.App/environments' }
            }
          ]
        }
      }
      {
        name: 'functions'
        properties: {
          addressPrefix: '10.20.4.0/24'
          delegations: [
            {
              name: 'functions'
              properties: {
                serviceName: plan == 'flex' ? 'Microsoft.App/environments' : 'Microsoft.Web/serverFarms'
              }
            }
          ]
        }
      }
    ]
  }
}

output id string = network.id
output endpointsSubnetId string = '${network.id}/subnets/endpoints'
output containersSubnetId string = '${network.id}/subnets/containers'
output functionsSubnetId string = '${network.id}/subnets/functions'
