"""Taking out of the store what assetmgr has put there: one asset (`rm`), or what no receipt names any more (`gc`)."""
