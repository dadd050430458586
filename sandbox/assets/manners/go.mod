module manners

go 1.26.0
