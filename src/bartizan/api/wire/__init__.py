"""How the Graph API is spoken: routes, requests, answers, one handler per verb; the areas beside it only declare."""
