from django.urls import path

from apps.accounts import views

_MEMBERS = "organizations/<int:organization_id>/members/"
_MEMBER = f"{_MEMBERS}<int:member_id>/"

urlpatterns = [
    path("", views.account_home, name="account_home"),
    path("login/", views.SignInView.as_view(), name="account_login"),
    path("logout/", views.SignOutView.as_view(), name="account_logout"),
    path("inactive/", views.InactiveView.as_view(), name="account_inactive"),
    path("password/", views.PasswordChangeView.as_view(), name="account_change_password"),
    path("name/", views.account_name, name="account_name"),
    path("tokens/new/", views.token_create, name="token_create"),
    path("tokens/<str:token_key>/revoke/", views.token_revoke, name="token_revoke"),
    path(_MEMBERS, views.organization_members, name="organization_members"),
    path(f"{_MEMBERS}invite/", views.organization_invite, name="organization_invite"),
    path(f"{_MEMBER}role/", views.organization_member_role, name="organization_member_role"),
    path(f"{_MEMBER}remove/", views.organization_member_remove, name="organization_member_remove"),
    path(f"{_MEMBER}deactivate/", views.organization_member_deactivate, name="organization_member_deactivate"),
    path(f"{_MEMBER}reactivate/", views.organization_member_reactivate, name="organization_member_reactivate"),
    path(f"{_MEMBER}password/", views.organization_member_password, name="organization_member_password"),
]
