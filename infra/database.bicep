// PostgreSQL with the extensions of pgSTAC. It accepts Entra identities only.
param location string
param serverName string
param tags object
param sku string
param version string

@description('Entra principal that administers the server: id, name and type.')
param administrator object
param deployerAddress string
param privateNetworking bool

// https://learn.microsoft.com/azure/postgresql/configure-maintain/concepts-limits#maximum-connections
// without the 15 connections that the server reserves.
var connections = {
  Standard_B1ms: 35
  Standard_B2s: 414
  Standard_D2ds_v5: 844
  Standard_D4ds_v5: 1703
}

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2026-10-01' = {
  name: serverName
  location: location
  tags: tags
  sku: {
    name: sku
    tier: startsWith(sku, 'Standard_B') ? 'Burstable' : 'GeneralPurpose'
  }
  properties: {
    version: version
    createMode: 'Default'
    storage: {
      storageSizeGB: 32
      autoGrow: 'Enabled'
    }
    backup: {
      backupRetentionDays: 14
      geoRedundantBackup: 'Disabled'
    }
    highAvailability: { mode: 'Disabled' }
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: tenant().tenantId
    }
    network: { publicNetworkAccess: privateNetworking ? 'Disabled' : 'Enabled' }
  }
}

resource extensions 'Microsoft.DBforPostgreSQL/flexibleServers/configurations@2026-10-01' = {
  parent: server
  name: 'azure.extensions'
  properties: {
    source: 'user-override'
    value: 'POSTGIS,BTREE_GIST,UNACCENT'
  }
}

resource catalogue 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2026-10-01' = {
  parent: server
  name: 'geolathe'
  properties: {
    charset: 'UTF8'
    collation: 'en_US.utf8'
  }
  dependsOn: [extensions]
}

// The server makes one change at a time.
resource administrators 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2026-10-01' = {
  parent: server
  name: administrator.id
  properties: {
    principalName: administrator.name
    principalType: administrator.type
    tenantId: tenant().tenantId
  }
  dependsOn: [catalogue]
}

// 0.0.0.0 lets every Azure service open a connection, of other customers too: the identities decide
// who may sign in. Private networking closes it.
resource azureServices 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2026-10-01' = if (!privateNetworking) {
  parent: server
  name: 'azure-services'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
  dependsOn: [administrators]
}

resource deployer 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2026-10-01' = if (!privateNetworking && !empty(deployerAddress)) {
  parent: server
  name: 'deployer'
  properties: {
    startIpAddress: deployerAddress
    endIpAddress: deployerAddress
  }
  dependsOn: [azureServices]
}

output id string = server.id
output host string = server.properties.fullyQualifiedDomainName
output name string = catalogue.name
output maxConnections int = connections[sku]
